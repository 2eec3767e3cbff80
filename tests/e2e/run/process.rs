//! The command as a process: its exit code, standard streams, environment and process group.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;

use larder_tests::{Fifo, Sandbox, Signal};

use crate::checkout::{Checkout, KILLS, MODEL, TRAINED};

pub(crate) fn the_exit_code_is_that_of_the_command() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.write("not-executable", "#!/bin/sh\n");
    checkout.write("bad-interpreter", "#!/no/such/interpreter\n");
    fs::set_permissions(checkout.path("bad-interpreter"), fs::Permissions::from_mode(0o755)).unwrap();
    let cases: [(&[&str], i32, &str); 10] = [
        (&["sh", "-c", "exit 1"], 1, ""),
        (&["sh", "-c", "exit 7"], 7, ""),
        (&["sh", "-c", "exit 125"], 125, ""),
        (&["sh", "-c", "exit 255"], 255, ""),
        (&["sh", "-c", "kill -KILL $$"], 137, ""),
        (&["sh", "-c", "kill -TERM $$"], 143, ""),
        (&["./not-executable"], 126, "not-executable"),
        (&["./corpus"], 126, "corpus"),
        (&["no-such-program"], 127, "no-such-program"),
        (&["./no/such/program"], 127, "no/such/program"),
    ];
    for (command, code, said) in cases {
        let call = checkout.larder(&["run", "-d", "corpus", "-o", MODEL, "--"]).args(command);
        let run = call.run();
        assert_eq!((run.code, run.signal), (Some(code), None), "{run}");
        assert!(run.stderr.contains(said), "{run}");
        assert!(sandbox.keys().is_empty() && checkout.records().is_empty(), "{run}");
        sandbox.assert_clean();
    }
    // A script whose interpreter is missing exists, but cannot be run.
    let call = checkout.larder(&["run", "-d", "corpus", "-o", MODEL, "--", "./bad-interpreter"]).run();
    assert!(matches!(call.code, Some(126 | 127)), "{call}");
}

pub(crate) fn a_quiet_run_says_that_its_command_cannot_be_started() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.write("not-executable", "#!/bin/sh\n");
    for (program, code) in [("no-such-program", 127), ("./not-executable", 126)] {
        for options in [&["-o", MODEL][..], &["--check"], &["-o", MODEL, "--mode", "off"]] {
            let call = checkout.larder(&["-q", "run", "-d", "corpus"]).args(options).args(["--", program]);
            let run = call.run().fails(code, &[program]);
            assert_eq!(run.stderr.lines().count(), 2, "the error and its cause: {run}");
        }
    }
}

pub(crate) fn the_standard_input_is_empty() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "cat > models/en\n");
    let mut call = checkout.train(&[]).command();
    checkout.write("typed", "typed");
    let status = call.stdin(File::open(checkout.path("typed")).unwrap()).output().unwrap();
    assert!(status.status.success(), "{status:?}");
    assert_eq!(checkout.read(MODEL).as_deref(), Some(""));
}

pub(crate) fn the_standard_output_belongs_to_the_command() {
    let sandbox = Sandbox::new();
    let script = "printf 'to stdout'\necho 'to stderr' >&2\ncp corpus/a models/en\n";
    let checkout = Checkout::with_step(&sandbox, script);
    let miss = checkout.train(&["-v"]).run().ok();
    assert_eq!(miss.text(), "to stdout");
    assert!(miss.stderr.lines().any(|line| line == "to stderr"), "{miss}");
    checkout.remove("models");
    for options in [&[][..], &["-v"]] {
        let hit = checkout.train(options).run().ok();
        assert_eq!(hit.text(), "");
    }
}

pub(crate) fn the_environment_is_that_of_the_call() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let call = checkout.larder(&["run", "-d", "corpus", "--check", "-e", "SEED=$OTHER", "-e", "LEVEL=7"]);
    let call = call.args(["-e", "OTHER", "--", "env"]).env("OTHER", "other").env("PLAIN", "a=b c");
    let run = call.run().ok();
    let mut found: Vec<&str> = run.text().lines().collect();
    found.sort_unstable();
    let mut expected: Vec<String> = call
        .command()
        .get_envs()
        .map(|(name, value)| format!("{}={}", name.to_str().unwrap(), value.unwrap().to_str().unwrap()))
        .chain(["SEED=other".to_owned(), "LEVEL=7".to_owned()])
        .collect();
    expected.sort();
    assert_eq!(found, expected);
}

pub(crate) fn a_variable_of_the_call_is_in_the_key() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "echo x >> ../trained\necho \"$SEED\" > models/en\n");
    let seed = |options: &[&str], value: &str| {
        checkout.train(options).env("SEED", value).run().ok();
        checkout.read(MODEL).unwrap()
    };
    assert_eq!(seed(&["-e", "SEED=1"], "9"), "1\n");
    assert_eq!(seed(&["-e", "SEED=2"], "9"), "2\n");
    assert_eq!(seed(&["-e", "SEED"], "1"), "1\n");
    // The first and the third have the same value, and so the same key.
    assert_eq!(checkout.trained(), 2);
}

pub(crate) fn the_process_group_is_that_of_the_call() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "cut -d' ' -f5,6 /proc/self/stat > models/en\n");
    checkout.train(&[]).run().ok();
    let found = checkout.read(MODEL).unwrap();
    // In a container they are 0 if they come from outside, and rustix panics at that.
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = own.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(found.trim(), fields[2..4].join(" "));
}

/// A step that ends well when it gets the signal, with an output that is not the whole one.
fn graceful(trap: &str) -> String {
    format!(
        "trap 'echo {trap} >> ../signals; echo half > models/en; exit 0' {trap}
touch ../ready
until read _ < ../gate || [ ! -e ../gate ]; do :; done
echo whole > models/en
"
    )
}

/// A step that stops gracefully when it gets the signal, with an output that is not the whole one. Unlike a trap of a shell, it
/// cannot miss a signal that comes just before it begins to wait.
pub(crate) fn trainer(signal: &str) -> String {
    format!(
        "exec python3 -c 'import signal, pathlib
awaited = {{signal.SIG{signal}}}
signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
pathlib.Path(\"../ready\").touch()
signal.sigwait(awaited)
open(\"../signals\", \"a\").write(\"{signal}\\n\")
open(\"models/en\", \"w\").write(\"half\\n\")'
"
    )
}

pub(crate) fn sigterm_and_sighup_are_forwarded() {
    for (signal, name, code) in [(Signal::TERM, "TERM", 143), (Signal::HUP, "HUP", 129)] {
        let sandbox = Sandbox::new();
        let checkout = Checkout::with_step(&sandbox, &trainer(name));
        checkout.write(MODEL, "old\n");
        let mut running = checkout.train(&[]).spawn();
        running.wait_until(|_| checkout.is_ready());
        let _ = running.signal(signal);
        let run = running.wait().exits(code);
        assert_eq!(checkout.lines("signals"), [name], "{run}");
        assert_eq!((sandbox.keys().len(), checkout.records().len()), (0, 0), "{run}");
        assert_eq!(checkout.read(MODEL).as_deref(), Some("old\n"));
        assert_eq!(checkout.read(".larder/failed/models/en").as_deref(), Some("half\n"));
        sandbox.assert_clean();
    }
}

pub(crate) fn a_kept_output_stays_after_a_signal() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, &trainer("TERM"));
    checkout.write(MODEL, "old\n");
    let mut running = checkout.train(&["--keep", MODEL]).spawn();
    running.wait_until(|_| checkout.is_ready());
    let _ = running.signal(Signal::TERM);
    let run = running.wait().exits(143);
    assert_eq!(checkout.read(MODEL).as_deref(), Some("half\n"), "{run}");
    assert!(!checkout.path(".larder/failed").exists(), "{run}");
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (0, 0), "{run}");
}

pub(crate) fn sigint_and_sigquit_are_not_forwarded() {
    for (signal, name, code) in [(Signal::INT, "INT", 130), (Signal::QUIT, "QUIT", 131)] {
        let sandbox = Sandbox::new();
        let checkout = Checkout::with_step(&sandbox, &graceful(name));
        let gate = checkout.gate();
        let mut running = checkout.traced(checkout.train(&[]), KILLS).spawn();
        running.wait_until(|_| checkout.is_ready());
        let id = running.id();
        let _ = running.signal(signal);
        running.wait_until(|running| !running.has_pending_signals());
        // larder waits for the command, which goes on.
        gate.release();
        let run = running.wait().exits(code);
        assert_eq!(checkout.lines("signals"), Vec::<String>::new(), "{run}");
        let sent = checkout.trace(Some(id), code);
        assert!(!sent.iter().any(|call| call.contains(&format!("SIG{name})"))), "{sent:?}");
        assert_eq!((sandbox.keys().len(), checkout.records().len()), (0, 0), "{run}");
        assert_eq!(checkout.read(MODEL), None);
        assert_eq!(checkout.read(".larder/failed/models/en").as_deref(), Some("whole\n"));
        sandbox.assert_clean();
    }
}

pub(crate) fn a_signal_that_the_call_ignores_is_ignored_by_both() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(
        &sandbox,
        "touch ../ready\nuntil read _ < ../gate || [ ! -e ../gate ]; do :; done\ncp corpus/a models/en\n",
    );
    let gate = checkout.gate();
    let mut running = checkout.train(&[]).through(["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""]).spawn();
    running.wait_until(|_| checkout.is_ready());
    let _ = running.signal(Signal::HUP);
    running.wait_until(|running| !running.has_pending_signals());
    gate.release();
    running.wait().ok().says(&["published"]);
    assert_eq!(checkout.read(MODEL).as_deref(), Some("a1\n"));
}

pub(crate) fn a_second_signal_after_the_command_stops_larder_at_once() {
    let sandbox = Sandbox::new();
    // larder reads for minutes after the command has ended.
    let script =
        "touch ../ready\nuntil read _ < ../gate || [ ! -e ../gate ]; do :; done\ntruncate -s 64G models/en\n";
    let checkout = Checkout::with_step(&sandbox, script);
    let gate: Fifo = checkout.gate();
    let mut running = checkout.train(&[]).spawn();
    running.wait_until(|_| checkout.is_ready());
    gate.release();
    running.wait_until(|running| running.bytes_read() > 256 << 20);
    let _ = running.signal(Signal::TERM);
    let sent = running.signal(Signal::TERM);
    let run = running.wait();
    let ended = run.code.or(run.signal.map(|signal| 128 + signal));
    assert_eq!(ended, Some(143), "{run}");
    assert!(run.after(sent).as_secs() < 2, "it ended after {:?}: {run}", run.after(sent));
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (0, 0), "{run}");
}

pub(crate) fn a_run_that_is_interrupted_while_it_publishes_is_published_later() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    fs::create_dir(sandbox.remote()).unwrap();
    // The object gets its final name by a rename.
    let run = checkout.train(&[]).inject("renameat2:signal=SIGTERM:when=1").run().exits(143);
    assert_eq!(checkout.read(MODEL).as_deref(), Some(TRAINED), "the work is kept: {run}");
    assert!(!checkout.path(".larder/failed").exists(), "{run}");
    checkout.train(&[]).run().ok().says(&["up to date"]);
    assert_eq!((sandbox.keys().len(), checkout.records().len(), checkout.trained()), (1, 1, 1));
    sandbox.assert_clean();
}
