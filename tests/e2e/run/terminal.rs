//! Ctrl-C and Ctrl-\ in a terminal, which sends the signals to larder and its command.

use larder_tests::{Key, Sandbox};

use crate::checkout::{Checkout, KILLS, MODEL};
use crate::process::trainer;

pub(crate) fn a_key_reaches_the_command_exactly_once() {
    for (key, name, code) in [(Key::CtrlC, "INT", 130), (Key::CtrlBackslash, "QUIT", 131)] {
        let sandbox = Sandbox::new();
        // The step counts the signals and goes on.
        let script = format!(
            "exec python3 -c 'import signal, pathlib, sys
awaited = {{signal.SIG{name}}}
signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
pathlib.Path(\"../ready\").touch()
signal.sigwait(awaited)
print(\"x\", file=open(\"../signals\", \"a\"))
open(\"../gate\").readline()
if signal.sigpending() & awaited: print(\"x\", file=open(\"../signals\", \"a\"))
print(\"whole\", file=open(\"models/en\", \"w\"))
sys.exit(5)'
"
        );
        let checkout = Checkout::with_step(&sandbox, &script);
        let gate = checkout.gate();
        let mut terminal = checkout.traced(checkout.train(&[]), KILLS).spawn_in_terminal();
        terminal.wait_until(|| checkout.is_ready());
        terminal.press(key);
        terminal.wait_until(|| !checkout.lines("signals").is_empty());
        gate.release();
        let run = terminal.wait().exits(code);
        assert_eq!(checkout.lines("signals").len(), 1, "{run}");
        // A forwarded signal may come late, or become one with the first.
        let sent = checkout.trace(None, code);
        assert!(!sent.iter().any(|call| call.contains(&format!("SIG{name})"))), "{sent:?}");
        assert_eq!((sandbox.keys().len(), checkout.records().len()), (0, 0), "{run}");
        assert_eq!(checkout.read(".larder/failed/models/en").as_deref(), Some("whole\n"), "{run}");
        sandbox.assert_clean();
    }
}

pub(crate) fn a_trainer_that_stops_gracefully_publishes_nothing() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, &trainer("INT"));
    checkout.write(MODEL, "old\n");
    let mut terminal = checkout.train(&[]).spawn_in_terminal();
    terminal.wait_until(|| checkout.is_ready());
    terminal.press(Key::CtrlC);
    let run = terminal.wait().exits(130).says(&[".larder/failed/models/en"]);
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (0, 0), "{run}");
    assert_eq!(checkout.read(MODEL).as_deref(), Some("old\n"), "{run}");
    assert_eq!(checkout.read(".larder/failed/models/en").as_deref(), Some("half\n"), "{run}");
    // Nothing is recorded here either.
    let again = checkout.train(&["--dry-run"]).run();
    assert!(!again.stderr.contains("up to date"), "{again}");
    sandbox.assert_clean();
}

pub(crate) fn a_command_that_dies_of_ctrl_c_ends_larder_too() {
    let sandbox = Sandbox::new();
    let script =
        "echo half > models/en\ntouch ../ready\nuntil read _ < ../gate || [ ! -e ../gate ]; do :; done\n";
    let checkout = Checkout::with_step(&sandbox, script);
    checkout.write(MODEL, "old\n");
    let _gate = checkout.gate();
    let mut terminal = checkout.train(&[]).spawn_in_terminal();
    terminal.wait_until(|| checkout.is_ready());
    terminal.press(Key::CtrlC);
    terminal.wait().exits(130);
    assert_eq!(checkout.read(MODEL).as_deref(), Some("old\n"));
    assert_eq!(checkout.read(".larder/failed/models/en").as_deref(), Some("half\n"));
    sandbox.assert_clean();
}
