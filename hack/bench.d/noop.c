// Does nothing: what is measured is the runtime around it.
int main(void) { return 0; }
