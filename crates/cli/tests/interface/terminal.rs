//! The output at a terminal.

use std::fs::File;
use std::num::NonZero;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{CommandAtTerminal, Project};

#[test]
fn a_name_does_not_steer_the_terminal_or_hide() {
    let project = Project::new();
    for (hostile, shown) in [
        ("\u{1b}[2J", "\\u{1b}[2J"),
        ("\u{202e}", "\\u{202e}"),
        ("\u{2066}", "\\u{2066}"),
        ("\u{200b}", "\\u{200b}"),
        ("\u{feff}", "\\u{feff}"),
    ] {
        // U+2028 is white space, which the helper would split at.
        let names = [format!("evil{hostile}"), format!("evil{hostile}\u{2028}x")];
        project.write(&names[0], "x");
        project.write(&names[1], "x");
        let said = |arguments: &[&str]| {
            let output = project.command("").args(arguments).output().unwrap();
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
        };
        let [name, other] = names.each_ref().map(String::as_str);
        for arguments in [
            &["push", name, "--progress", "always"][..],
            &["push", other],
            &["ls"],
            &["pull", name],
            &["pull", name, "--to", name, "--progress", "always"],
            &["pull", other],
            &["pull", other, "--command-hash", "z"],
            &["push", "absent", name],
            &["hash", "content", name, other, "--progress", "always"],
            &["push", name, &format!("--{hostile}x")],
            &[name],
            &["ls", "-r", name],
            &["-C", other, "ls"],
        ] {
            let said = said(arguments);
            // clap drops escape sequences from its messages.
            let is_of_clap = said.contains("Usage:");
            assert!(said.contains(shown) || is_of_clap, "{arguments:?}: {said}");
            let is_raw = said.contains('\u{2028}') || (hostile != "\u{1b}[2J" && said.contains(hostile));
            assert!(!is_raw && !said.contains("\u{1b}[2J"), "{arguments:?}: {said:?}");
        }
        // For scripts: a URL is literal, and its key is percent-encoded.
        let found = said(&["find", name]);
        assert!(found.contains("/evil%"), "{found}");
    }
}

#[test]
fn bars_are_drawn_only_where_they_are_wanted() {
    let project = Project::new();
    let stderr =
        |arguments: &str| String::from_utf8(project.command(arguments).output().unwrap().stderr).unwrap();
    assert_eq!(stderr("hash content models/en"), "");
    assert!(stderr("hash content models/en --progress always").contains("hashing models/en"));
}

/// Reads from a terminal until it shows the expected text.
fn watch(
    command: &mut CommandAtTerminal,
    screen: &mut vt100::Parser,
    awaited: impl Fn(&str) -> bool,
) -> bool {
    while let Some(bytes) = command.read() {
        screen.process(&bytes);
        if awaited(&screen.screen().contents()) {
            return true;
        }
    }
    false
}

#[test]
fn bars_fit_the_terminal_and_are_gone_when_the_command_is_interrupted() {
    let project = Project::new();
    // A sparse file takes long to read, and no space.
    let name = "a-name-that-does-not-fit-into-a-narrow-terminal-as-it-is";
    File::create(project.path().join(name)).unwrap().set_len(64 << 30).unwrap();
    for (arguments, columns, code) in
        [("push", 40, Some(130)), ("push", 100, Some(130)), ("hash content", 60, None)]
    {
        let mut command = project.start_at_a_terminal(&format!("{arguments} {name}"), "xterm", columns);
        let mut screen = vt100::Parser::new(NonZero::new(24).unwrap(), NonZero::new(columns).unwrap(), 0);
        assert!(
            watch(&mut command, &mut screen, |shown| shown.contains("GiB")),
            "{:?}",
            screen.screen().contents()
        );
        let shown = screen.screen().contents();
        assert_eq!(shown.trim_end().lines().count(), 1, "one bar is one line: {shown:?}");
        assert!(shown.starts_with("hashing a-name"), "{shown:?}");
        kill_process(Pid::from_child(&command.child), Signal::INT).unwrap();
        watch(&mut command, &mut screen, |_| false);
        let left = screen.screen().contents();
        assert!(!left.contains("hashing"), "the bar is left: {left:?}");
        assert_eq!(command.child.wait().unwrap().code(), code, "{left}");
    }
}
