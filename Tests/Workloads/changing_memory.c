// Memory of which a part changes between two checkpoints: what the parents of one have, and what it has itself, fit.
//
// Every page has its number, and how often it was written; a round writes every fourth page, another quarter each time. A
// child has the same memory, written by itself from its birth on, and shares the rest with its parent.
#include "workload.h"

enum { PAGES = 4096, QUARTERS = 4 };

struct page { unsigned long number, written, owner, rest[509]; };

static struct page *pages, *shared;
static unsigned long owner, rounds;

static void write_page(struct page *of, unsigned long number, unsigned long written) {
    of[number] = (struct page){number, written, owner, {0}};
    of[number].rest[number % 509] = number * 31 + written;
}

static void next_round(struct page *of) {
    for (unsigned long number = rounds % QUARTERS; number < PAGES; number += QUARTERS)
        write_page(of, number, of[number].written + 1);
}

/// How often a quarter was written after so many rounds, once at the beginning.
static unsigned long writings(unsigned long quarter) { return 1 + (rounds + QUARTERS - 1 - quarter) / QUARTERS; }

static void check_pages(const struct page *of, const char *what) {
    for (unsigned long number = 0; number < PAGES; number++) {
        const struct page *page = &of[number];
        unsigned long expected = writings(number % QUARTERS);
        if (page->number == number && page->written == expected
            && page->rest[number % 509] == number * 31 + page->written && !page->rest[(number + 1) % 509]) continue;
        expect(false, "%s page %lu is page %lu, written %lu times and not %lu", what, number, page->number, page->written,
               expected);
        return;
    }
}

static void check(void) {
    check_pages(pages, "private");
    if (!my_seat) check_pages(shared, "shared");
    next_round(pages);
    if (!my_seat) next_round(shared);
    rounds++;
}

static void enter(void) { owner = 2; }

int main(void) {
    begin();
    owner = 1;
    pages = must(mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    shared = must(mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    for (unsigned long number = 0; number < PAGES; number++) {
        write_page(pages, number, 1);
        write_page(shared, number, 1);
    }
    hire(enter, check);
    serve_checks(check);
}
