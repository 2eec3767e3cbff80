//! Many runs at once, as of `make -j8`, and many outputs of one run.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use larder_tests::{Run, Running, Sandbox, files_below};

use crate::checkout::Checkout;

/// Ten keys; the keys n and n + 5 have the same output.
const STEP: &str = "echo $1 >> ../trained
echo $1 > build/$2
echo $1 >> build/common-$2
";

pub(crate) fn fifty_runs_of_ten_keys_with_shared_outputs() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, STEP);
    let start = |number: usize| -> Running {
        let (key, output) = ((number % 10).to_string(), (number % 5).to_string());
        let [own, common] = [format!("build/{output}"), format!("build/common-{output}")];
        let call =
            checkout.larder(&["run", "-d", "step.sh", "-o", &own, "-o", &common, "--", "sh", "step.sh"]);
        call.args([key, output]).spawn()
    };
    let running: Vec<Running> = (0..50).map(start).collect();
    // Wait for all processes before the first assertion, so that a failure leaves none behind.
    let runs: Vec<Run> = running.into_iter().map(Running::wait).collect();
    for run in runs {
        let run = run.ok();
        assert_only_waits(&run.stderr);
    }
    assert_each_key_is_trained_once(&sandbox, &checkout);
}

pub(crate) fn fifty_targets_of_make() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, STEP);
    let makefile = "all: $(addprefix target-,$(shell seq 0 49))
target-%:
\t@key=$$(($* % 10)) output=$$(($* % 5)); $(LARDER) run -d step.sh -o build/$$output -o build/common-$$output -- sh step.sh $$key $$output
";
    checkout.write("Makefile", makefile);
    // Make gets the environment of a call in the sandbox.
    let call = checkout.larder(&[]).command();
    let environment = call.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut make = Command::new("make");
    make.args(["-j8", "--output-sync=none"]).current_dir(checkout.path("")).env_clear().envs(environment);
    let outcome = make.arg(format!("LARDER={}", sandbox.public_binary().display())).output().unwrap();
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{said}");
    assert_only_waits(&said);
    assert_each_key_is_trained_once(&sandbox, &checkout);
}

fn assert_only_waits(stderr: &str) {
    let mut warnings = stderr.lines().filter(|line| line.starts_with("warning: "));
    assert!(warnings.all(|line| line.contains("waiting")), "{stderr}");
}

fn assert_each_key_is_trained_once(sandbox: &Sandbox, checkout: &Checkout<'_>) {
    let trained = checkout.lines("trained");
    let keys: BTreeSet<&String> = trained.iter().collect();
    assert_eq!((trained.len(), keys.len()), (10, 10), "each key is trained once: {trained:?}");
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (20, 20));
    for output in 0..5 {
        let own = checkout.read(&format!("build/{output}")).unwrap();
        let common = checkout.read(&format!("build/common-{output}")).unwrap();
        assert!([output, output + 5].map(|key| format!("{key}\n")).contains(&own), "{own}");
        assert_eq!(own, common, "the outputs of two keys are mixed");
    }
    sandbox.assert_clean();
}

pub(crate) fn thousands_of_outputs_with_long_paths() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "mkdir -p out\nfor output; do echo x > \"$output\"; done\n");
    let outputs: Vec<String> = (0..2_000).map(|number| format!("out/{number:0190}")).collect();
    let options = outputs.iter().flat_map(|output| ["-o", output]);
    let run = || {
        let call = checkout.larder(&["run", "-d", "step.sh", "--mode", "read-only"]).args(options.clone());
        let run = call.args(["--", "sh", "step.sh"]).args(&outputs).run();
        // The whole call would be a long message.
        assert_eq!(run.code, Some(0), "{}", run.stderr.chars().take(2_000).collect::<String>());
        run.stderr
    };
    run();
    let runs = checkout.path(".larder/runs");
    let [record] = <[String; 1]>::try_from(files_below(&runs)).unwrap();
    // A record in a remote lists fewer outputs.
    assert!(fs::metadata(runs.join(record)).unwrap().len() > 1 << 20);
    assert!(run().contains("up to date"));
    assert!(!checkout.path(".larder/failed").exists());
    sandbox.assert_clean();
}
