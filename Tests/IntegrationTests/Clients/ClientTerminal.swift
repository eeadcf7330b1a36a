extension Command {
    /// The same on a terminal of 30 lines and 100 columns. Once it has said a text, it is given the answer.
    func onTerminal(_ answers: (says: String, gets: String)...) -> Command {
        var command = self
        let script = Workload.folder + "/terminal/on_terminal.py"
        command.words = ["python3", script] + answers.map { "\($0.says)=\($0.gets)" } + ["--"] + words
        return command
    }
}
