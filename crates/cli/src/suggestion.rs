//! Suggests larder commands for commands of other tools.

/// Returns the larder command that does the job of another tool's command.
pub(crate) fn instead_of(command: &str) -> Option<&'static str> {
    Some(match command {
        "add" | "put" | "save" | "upload" | "store" | "commit" => "`larder push PATH` uploads an output",
        "get" | "fetch" | "download" | "restore" | "checkout" | "clone" => {
            "`larder pull PATH` restores an output"
        }
        "sync" => "`larder push PATH` uploads an output, and `larder pull PATH` restores one",
        "st" => "`larder status` compares the pinned outputs with larder.lock",
        "history" | "versions" => {
            "`larder ls PATH` lists the versions of an output, `larder log PATH` the runs that made them"
        }
        "list" | "dir" => "`larder ls` lists the outputs in the remote",
        "du" | "size" | "info" => "`larder ls PATH` shows the size of each version of an output",
        "diff" | "compare" => {
            "`larder pull PATH --to DIR` restores another version beside yours, `larder hash content --explain` lists what is in one"
        }
        "cat" | "show" => "`larder pull PATH --to DIR` restores a copy to look at",
        "rm" | "remove" | "delete" | "gc" | "prune" | "clean" => {
            "larder does not delete objects yet: `larder find PATH --all` prints their URLs for the tools of the storage"
        }
        "verify" | "check" | "fsck" => {
            "`larder pull PATH --to DIR` verifies an output, `larder project audit` a remote that weasel filled"
        }
        "remote" | "remotes" => {
            "name remotes in larder.toml: `[remotes]` and below it `default = \"/path/or/url\"`; `larder config` documents all keys"
        }
        "cp" | "copy" | "mv" | "move" | "rename" => {
            "an output keeps its path in the remote: `larder pull PATH`, move it, and `larder push` it under its new path"
        }
        "track" | "lock" => "`larder pin PATH` pins the version on disk in larder.lock",
        "untrack" | "unlock" => "`larder unpin PATH` removes a pin from larder.lock",
        "doctor" => "`larder ls -v` shows the project, the remote and the configuration files in use",
        "version" => "`larder --version` prints the version",
        "login" | "auth" => {
            "larder uses the credentials of AWS, Google Cloud and SSH tools: log in with those"
        }
        "repro" | "exec" | "make" | "memo" => {
            "`larder run -d INPUT -o OUTPUT -- CMD` runs a command, or restores what it made before"
        }
        _ => return None,
    })
}
