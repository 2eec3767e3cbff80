//! `kill -9` of larder while its command goes on: nobody touches the outputs before the command has ended.

use std::fs;
use std::path::Path;

use larder_tests::{Fifo, Larder, Running, Sandbox, Signal, Tree, wait_for};

use crate::checkout::{Checkout, MODEL, TRAINED};

const FAILED: &str = ".larder/failed/models/en";

/// A step that waits only in its first call, and then leaves half an output.
const SLOW_ONCE: &str = "echo $$ > ../pid
if ! [ -e ../slow ]; then
    touch ../slow ../ready
    until read _ < ../gate || [ ! -e ../gate ]; do :; done
    echo half > models/en
    exit 0
fi
echo x >> ../trained
cat corpus/a corpus/b > models/en
";

/// Starts the step, and kills larder while the step waits.
fn kill_while_the_command_waits(checkout: &Checkout<'_>) -> Fifo {
    let gate = checkout.gate();
    let mut running = checkout.train(&[]).spawn();
    running.wait_until(|_| checkout.is_ready());
    let _ = running.signal(Signal::KILL);
    assert_eq!(running.wait().signal, Some(9));
    assert!(is_alive(checkout), "the command goes on");
    gate
}

fn is_alive(checkout: &Checkout<'_>) -> bool {
    let stat = Path::new("/proc").join(checkout.lines("pid")[0].trim()).join("stat");
    // In a container whose first process waits for nobody, an orphan stays as a zombie.
    let state = std::fs::read_to_string(stat).ok().and_then(|stat| stat.rsplit(") ").next()?.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Waits until the command has ended.
#[track_caller]
fn wait_for_its_end(checkout: &Checkout<'_>) {
    wait_for("the end of the command", || !is_alive(checkout));
}

/// Starts a command that must wait for the step, and waits until it says so.
fn start_waiting(larder: &Larder) -> Running {
    let mut running = larder.spawn();
    running.wait_until(|running| {
        let said = running.stderr_so_far();
        said.contains("waiting") && said.contains(MODEL)
    });
    running
}

pub(crate) fn another_run_waits_for_the_command() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, SLOW_ONCE);
    checkout.write(MODEL, "old\n");
    let gate = kill_while_the_command_waits(&checkout);
    let mut other = start_waiting(&checkout.train(&[]));
    assert!(other.is_running() && is_alive(&checkout) && checkout.trained() == 0);
    gate.release();
    let run = other.wait().ok().says(&["waiting for a command that uses models/en", "was interrupted"]);
    assert_eq!(checkout.trained(), 1, "the output of the killed run is no result: {run}");
    assert_eq!(checkout.read(MODEL).as_deref(), Some(TRAINED));
    assert_eq!(checkout.read(FAILED).as_deref(), Some("half\n"), "{run}");
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (1, 1));
    sandbox.assert_clean();
}

pub(crate) fn a_pull_of_the_output_waits_for_the_command() {
    for force in [&[][..], &["--force"]] {
        let sandbox = Sandbox::new();
        let checkout = Checkout::with_step(&sandbox, SLOW_ONCE);
        let old = Tree::small(1);
        checkout.write(MODEL, "pushed\n");
        checkout.larder(&["push", MODEL]).run().ok();
        checkout.remove(MODEL);
        old.write(&checkout.path(MODEL));
        let gate = kill_while_the_command_waits(&checkout);
        let mut pull = start_waiting(&checkout.larder(&["pull", MODEL]).args(force));
        assert!(pull.is_running() && is_alive(&checkout));
        gate.release();
        let run = pull.wait().ok();
        if force.is_empty() {
            Tree::read(&checkout.path(MODEL)).assert_same(&old);
        } else {
            assert_eq!(checkout.read(MODEL).as_deref(), Some("pushed\n"), "{run}");
        }
        assert_eq!(checkout.read(FAILED).as_deref(), Some("half\n"), "{run}");
        sandbox.assert_clean();
    }
}

pub(crate) fn commands_that_do_not_need_the_output_do_not_wait() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, SLOW_ONCE);
    checkout.write(MODEL, "old\n");
    checkout.write("other", "x");
    checkout.larder(&["push", "other"]).run().ok();
    let gate = kill_while_the_command_waits(&checkout);
    for args in [&["ls"][..], &["find", "other"], &["push", "other"], &["pull", "other"], &["log"]] {
        let run = checkout.larder(args).run().ok();
        assert!(!run.stderr.contains("waiting"), "{run}");
    }
    // A run with another output, a directory beside this one.
    let run =
        checkout.larder(&["run", "-d", "corpus", "-o", "models/de", "--", "cp", "corpus/a", "models/de"]);
    run.run().ok().says(&["published"]);
    assert!(is_alive(&checkout));
    gate.release();
    wait_for_its_end(&checkout);
    // Any command puts the old output back once the step has ended.
    checkout.larder(&["ls"]).run().ok();
    assert_eq!(checkout.read(MODEL).as_deref(), Some("old\n"));
    assert_eq!(checkout.read(FAILED).as_deref(), Some("half\n"));
    assert_eq!(checkout.read("models/de").as_deref(), Some("a1\n"));
    sandbox.assert_clean();
}

pub(crate) fn what_was_not_there_before_is_not_there_after() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, SLOW_ONCE);
    let gate = kill_while_the_command_waits(&checkout);
    gate.release();
    wait_for_its_end(&checkout);
    checkout.larder(&["ls"]).run().ok();
    assert_eq!((checkout.read(MODEL), checkout.read(FAILED)), (None, Some("half\n".to_owned())));
    sandbox.assert_clean();
}

pub(crate) fn a_kept_output_stays_after_the_kill() {
    let sandbox = Sandbox::new();
    let script = SLOW_ONCE.replace("echo half > models/en", "echo half >> models/en");
    let checkout = Checkout::with_step(&sandbox, &script);
    checkout.write(MODEL, "checkpoint\n");
    let gate = checkout.gate();
    let mut running = checkout.train(&["--keep", MODEL]).spawn();
    running.wait_until(|_| checkout.is_ready());
    let _ = running.signal(Signal::KILL);
    running.wait();
    assert_eq!(checkout.read(MODEL).as_deref(), Some("checkpoint\n"));
    gate.release();
    wait_for_its_end(&checkout);
    checkout.larder(&["ls"]).run().ok();
    assert_eq!(checkout.read(MODEL).as_deref(), Some("checkpoint\nhalf\n"));
    assert!(!checkout.path(FAILED).exists());
    sandbox.assert_clean();
}

pub(crate) fn an_input_that_a_killed_run_left_half_made_comes_back_first() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, SLOW_ONCE);
    checkout.write(MODEL, "old\n");
    let gate = kill_while_the_command_waits(&checkout);
    gate.release();
    wait_for_its_end(&checkout);
    assert_eq!(checkout.read(MODEL).as_deref(), Some("half\n"));
    let run = checkout.larder(&["run", "-d", MODEL, "-o", "copy", "--", "cp", MODEL, "copy"]).run();
    let run = run.ok().says(&["published copy"]);
    assert!(!run.stderr.contains("changed its input"), "{run}");
    assert_eq!(checkout.read("copy").as_deref(), Some("old\n"), "{run}");
    sandbox.assert_clean();
}

pub(crate) fn of_two_runs_of_one_output_the_second_waits() {
    let sandbox = Sandbox::new();
    let script = "echo x >> ../trained\ntouch ../ready\nuntil read _ < ../gate || [ ! -e ../gate ]; do :; done\ncat corpus/a corpus/b > models/en\n";
    let checkout = Checkout::with_step(&sandbox, script);
    let gate = checkout.gate();
    let mut first = checkout.train(&[]).spawn();
    first.wait_until(|_| checkout.is_ready());
    let mut second = start_waiting(&checkout.train(&[]));
    assert!(second.is_running());
    gate.release();
    first.wait().ok().says(&["published"]);
    second.wait().ok().says(&["waiting for another larder command that uses models/en", "up to date"]);
    assert_eq!(checkout.trained(), 1);
    sandbox.assert_clean();
}

pub(crate) fn an_output_above_or_below_another_waits_too() {
    for (inner_first, running, waiting) in [(true, "models/en", "models"), (false, "models", "models/en")] {
        let sandbox = Sandbox::new();
        let script = "mkdir -p models
if mkdir ../first; then touch ../ready; until read _ < ../gate || [ ! -e ../gate ]; do :; done; fi
echo x > models/en\n";
        let checkout = Checkout::with_step(&sandbox, script);
        let gate = checkout.gate();
        let mut first = checkout.step(&["-o", running]).spawn();
        first.wait_until(|_| checkout.is_ready());
        let mut second = checkout.step(&["-o", waiting]).spawn();
        second.wait_until(|second| second.stderr_so_far().contains("waiting"));
        gate.release();
        first.wait().ok();
        let run = second.wait();
        assert_eq!(run.code, Some(0), "the inner output first: {inner_first}: {run}");
        assert_eq!(checkout.read(MODEL).as_deref(), Some("x\n"));
        sandbox.assert_clean();
    }
}

pub(crate) fn a_wait_can_be_interrupted() {
    let sandbox = Sandbox::new();
    let script =
        "touch ../ready\nuntil read _ < ../gate || [ ! -e ../gate ]; do :; done\ncat corpus/a > models/en\n";
    let checkout = Checkout::with_step(&sandbox, script);
    let gate = checkout.gate();
    let mut first = checkout.train(&[]).spawn();
    first.wait_until(|_| checkout.is_ready());
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for args in [&["run", "-d", "corpus", "-o", MODEL, "--", "true"][..], &["pull", MODEL]] {
            let waiting = start_waiting(&checkout.larder(args));
            let sent = waiting.signal(signal);
            let run = waiting.wait();
            assert_eq!(run.code.or(run.signal.map(|signal| 128 + signal)), Some(code), "{run}");
            assert!(run.after(sent).as_secs() < 2, "{run}");
        }
    }
    gate.release();
    first.wait().ok().says(&["published"]);
    sandbox.assert_clean();
}

pub(crate) fn a_nested_run_of_the_same_output_fails() {
    let sandbox = Sandbox::new();
    // Without the failure both would wait for ever.
    let script = "for output in models/en models/en/deep models; do
    \"$BINARY\" run -d corpus -o $output -- sh -c 'echo x >> ../nested' 2>> ../said
    echo $? >> ../codes
done
\"$BINARY\" pull models/en --force 2>> ../said
echo $? >> ../codes
\"$BINARY\" run -d corpus -o other -- cp corpus/a other 2>> ../said
echo $? >> ../codes
cat corpus/a corpus/b > models/en
";
    let checkout = Checkout::with_step(&sandbox, script);
    checkout.write(MODEL, "old\n");
    checkout.larder(&["push", MODEL]).run().ok();
    let call = checkout.train(&[]).env("BINARY", sandbox.public_binary());
    let run = call.run().ok();
    let codes = checkout.lines("codes");
    let said = fs::read_to_string(checkout.beside("said")).unwrap();
    assert_eq!(codes[..3], ["125", "125", "125"], "{said}");
    assert_eq!((&*codes[3] != "0", &*codes[4]), (true, "0"), "{said}");
    assert!(said.contains(MODEL), "{said}");
    assert_eq!(checkout.lines("nested"), Vec::<String>::new());
    assert_eq!(checkout.read("other").as_deref(), Some("a1\n"), "another output is free: {run}");
    assert_eq!(checkout.read(MODEL).as_deref(), Some(TRAINED));
    sandbox.assert_clean();
}

pub(crate) fn of_nested_runs_that_cross_one_fails() {
    let sandbox = Sandbox::new();
    // Each command makes its own output once the other holds its lock, too. `timeout` exits with 124.
    let script = "touch ../holds-$1
turn=0
until [ -e ../holds-$2 ] || [ $turn -gt 6000 ]; do sleep 0.01; turn=$((turn + 1)); done
timeout 60 \"$BINARY\" run -d corpus -o x/$2 -- cp corpus/a x/$2 || exit
cp corpus/a x/$1
";
    let checkout = Checkout::with_step(&sandbox, script);
    let start = |own: &str, other: &str| {
        let output = format!("x/{own}");
        let call =
            checkout.larder(&["run", "-d", "step.sh", "-o", &output, "--", "sh", "step.sh", own, other]);
        call.env("BINARY", sandbox.public_binary()).spawn()
    };
    let runs = [start("one", "two"), start("two", "one")].map(Running::wait);
    let mut codes = runs.each_ref().map(|run| run.code.unwrap());
    codes.sort_unstable();
    assert_eq!(codes, [0, 125], "{} {}", runs[0], runs[1]);
    let failed = runs.iter().find(|run| run.code == Some(125)).unwrap();
    assert!(failed.stderr.contains("waits for this one"), "{failed}");
    for output in ["x/one", "x/two"] {
        assert_eq!(checkout.read(output).as_deref(), Some("a1\n"), "{output}: {} {}", runs[0], runs[1]);
    }
    assert!(checkout.path(".larder/waiting").read_dir().unwrap().next().is_none());
    sandbox.assert_clean();
}

pub(crate) fn a_nested_run_of_the_same_output_fails_after_the_kill() {
    let sandbox = Sandbox::new();
    // The step must not wait for itself for ever.
    let script = "echo $$ > ../pid
touch ../ready
until read _ < ../gate || [ ! -e ../gate ]; do :; done
timeout 60 \"$BINARY\" run -d corpus -o models/en -- sh -c 'echo x >> ../nested' 2>> ../said
echo $? >> ../codes
timeout 60 \"$BINARY\" pull models/en 2>> ../said
echo $? >> ../codes
";
    let checkout = Checkout::with_step(&sandbox, script);
    let gate = checkout.gate();
    let mut running = checkout.train(&[]).env("BINARY", sandbox.public_binary()).spawn();
    running.wait_until(|_| checkout.is_ready());
    let _ = running.signal(Signal::KILL);
    running.wait();
    gate.release();
    wait_for_its_end(&checkout);
    let said = fs::read_to_string(checkout.beside("said")).unwrap();
    // `timeout` exits with 124.
    let codes = checkout.lines("codes");
    assert!(codes[0] == "125" && codes[1] != "0" && codes[1] != "124", "{codes:?} {said}");
    assert_eq!(checkout.lines("nested"), Vec::<String>::new());
}

pub(crate) fn a_background_process_of_the_command_does_not_hold_the_lock() {
    let sandbox = Sandbox::new();
    // The command leaves a daemon that has inherited the descriptor of the lock.
    let script = "(touch ../ready; until read _ < ../gate || [ ! -e ../gate ]; do :; done) > /dev/null 2>&1 &\ncat corpus/a > models/en\n";
    let checkout = Checkout::with_step(&sandbox, script);
    let gate = checkout.gate();
    checkout.train(&[]).run().ok().says(&["published"]);
    checkout.write("corpus/a", "a2\n");
    let run = checkout.train(&[]).run().ok();
    assert!(!run.stderr.contains("waiting"), "{run}");
    gate.release();
    gate.release();
}
