//! `kill -9` at every system call with which `init` and `unpin` change something.

use std::fs;

use larder_tests::Sandbox;

use crate::sweep::{remove, sweep};

const HEADER: &str = "# Written by larder. Commit this file.\nversion = 1\n";
const PIN: &str = "\n[[pin]]\npath = \"model\"\ncontent = \"v1\"\ncommand = \"k\"\nbytes = 1\nfiles = 1\n";

/// Asserts that a command leaves nothing beside the files of a project.
fn assert_no_strays(sandbox: &Sandbox, when: &str) {
    let names = |dir| -> Vec<String> {
        let entries = fs::read_dir(sandbox.path(dir)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    for name in names("").into_iter().chain(names(".larder")) {
        assert!(!name.contains("new") && !name.contains("tmp"), "{when}: {name}");
    }
}

pub(crate) fn killed_unpin() {
    let sandbox = Sandbox::new();
    let (lock, ignored) = (sandbox.path("larder.lock"), sandbox.path(".gitignore"));
    let prepare = || {
        fs::write(&lock, format!("{HEADER}{PIN}")).unwrap();
        fs::write(&ignored, "/model\n*.bin\n").unwrap();
    };
    let unpin = sandbox.larder(["unpin", "model"]);
    sweep(&unpin, prepare, |_, when| {
        let text = fs::read_to_string(&lock).unwrap();
        assert!(text == HEADER || text == format!("{HEADER}{PIN}"), "{when}: {text}");
        let again = unpin.run();
        assert_eq!(again.code, Some(if text == HEADER { 3 } else { 0 }), "{when}: {again}");
        assert_eq!(fs::read_to_string(&lock).unwrap(), HEADER, "{when}");
        assert_eq!(fs::read_to_string(&ignored).unwrap(), "*.bin\n", "{when}");
        fs::write(&lock, format!("{HEADER}{PIN}")).unwrap();
        unpin.run().ok();
        assert_no_strays(&sandbox, when);
    });
}

pub(crate) fn killed_init() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.remote()).unwrap();
    let init = sandbox.larder(["init", "../remote"]);
    let prepare = || {
        for name in ["larder.toml", ".larderignore", ".larder"] {
            remove(sandbox.path(name));
        }
    };
    sweep(&init, prepare, |_, when| {
        init.run().ok();
        let text = fs::read_to_string(sandbox.path("larder.toml")).unwrap();
        assert!(text.ends_with("default = \"../remote/project\"\n"), "{when}: {text}");
        let text = fs::read_to_string(sandbox.path(".larderignore")).unwrap();
        assert!(text.ends_with(".DS_Store\n"), "{when}: {text}");
        assert_no_strays(&sandbox, when);
    });
}
