//! The location of a remote.

use std::fs;

use larder_tests::Tree;

use crate::errors::{assert_fails_fast, furnished};

pub(crate) fn a_path_is_decoded() {
    let store = furnished();
    store.run(["push", "model", "--command-hash", "w"]).ok();
    let names = [
        ("with%20space", "with space"),
        ("gr%C3%B6%C3%9Fe", "größe"),
        ("größe-日本語", "größe-日本語"),
        ("it's", "it's"),
        ("%22quoted%22", "\"quoted\""),
        ("per%25cent", "per%cent"),
        ("plus+plus", "plus+plus"),
        ("%24(x)%3B%26", "$(x);&"),
        ("question%3Fmark%23hash", "question?mark#hash"),
    ];
    for (encoded, name) in names {
        let remote = format!("{}/{encoded}", store.remote_url());
        let directory = store.directory.join(name);
        let push = store.run(["push", "model", "-r", &remote, "--json"]).ok();
        assert_eq!(push.outcome(), "uploaded", "{push}");
        assert!(directory.join("model").is_dir(), "{name} is not there");
        assert_eq!(store.run(["ls", "-r", &remote]).ok().line(), "model");
        // The printed URL names the same remote.
        let found = store.run(["find", "model", "-r", &remote]).ok();
        assert_eq!(found.line(), push.field("url"));
        assert!(found.line().contains("/model/"), "{found}");
        fs::remove_dir_all(store.path("model")).unwrap();
        store.run(["pull", "model", "-r", &remote]).ok();
        Tree::read(&store.path("model")).assert_same(&Tree::small(1));
        fs::remove_dir_all(directory).unwrap();
    }
}

pub(crate) fn the_schemes_are_one() {
    let store = furnished();
    store.run(["push", "model"]).ok();
    for scheme in ["sftp://", "scp://", "SSH://"] {
        let remote = store.remote_url().replacen("ssh://", scheme, 1);
        assert_eq!(store.run(["ls", "-r", &remote]).ok().line(), "model");
        let again = store.run(["push", "model", "-r", &remote, "--json"]).ok();
        assert_eq!(again.outcome(), "already_present");
    }
    store.run(["ls", "-r", &format!("{}/", store.remote_url())]).ok();
}

pub(crate) fn a_home_is_where_the_server_says() {
    let store = furnished();
    let name = store.directory.file_name().unwrap().to_str().unwrap();
    let absent =
        format!("ssh://{}@{}:{}/~/larder-{name}", store.account.user, store.account.host, store.account.port);
    // Nothing is created in the home of the current user.
    store.run(["find", "model", "-r", &absent]).fails(3, &[&format!("/~/larder-{name}")]);
    store.run(["ls", "-r", &absent]).ok();
    assert_fails_fast(&store.larder(["push", "model", "-r", &format!("{absent}/below")]), 5, &["/~/larder-"]);
}

pub(crate) fn an_alias_of_the_users_configuration() {
    let store = furnished();
    let account = &store.account;
    fs::rename(store.ssh().join("id_ed25519"), store.ssh().join("my key")).unwrap();
    fs::rename(store.ssh().join("known_hosts"), store.ssh().join("hosts")).unwrap();
    let config = format!(
        "# of the team\nHost box other\n    HostName {}\n    Port {}\n    User {}\n    IdentityFile \"~/.ssh/my key\"\n    \
         IdentitiesOnly yes\n    UserKnownHostsFile ~/.ssh/hosts\n    ServerAliveInterval 5\n    ConnectTimeout 5\n",
        account.host, account.port, account.user
    );
    store.write_ssh("config", &config);
    let remote = format!("ssh://box{}", store.directory.display());
    let push = store.run(["push", "model", "-r", &remote, "--json"]).ok();
    assert!(push.field("url").starts_with(&format!("{remote}/model/")), "{push}");
    fs::remove_dir_all(store.path("model")).unwrap();
    store.run(["pull", "model", "-r", &remote]).ok();
    Tree::read(&store.path("model")).assert_same(&Tree::small(1));
    // The host itself is not configured, so that its key is unknown.
    assert_fails_fast(&store.larder(["ls"]), 5, &[&store.remote_url()]);
}

pub(crate) fn urls_that_cannot_be() {
    let store = furnished();
    let rows: [(&str, &[&str]); 8] = [
        ("ssh://me:hunter2@box/x", &["password"]),
        ("ssh://-oProxyCommand=touch%20x@box/x", &[]),
        ("ssh://-oProxyCommand=x/x", &[]),
        ("ssh:///x", &["host"]),
        ("ssh://", &["host"]),
        ("ssh://box:99999/x", &["99999"]),
        ("ssh://box/x?strict_host_key_checking=no", &["strict_host_key_checking"]),
        ("ssh://box", &[]),
    ];
    for (url, parts) in rows {
        let run = assert_fails_fast(&store.larder(["ls", "-r", url]), 2, parts);
        assert!(!run.said().contains("hunter2"), "{run}");
        store.configure(&format!("[remotes]\nshared = '{url}'\n"));
        let run = assert_fails_fast(&store.larder(["ls"]), 2, &[parts, &["larder.toml:2"]].concat());
        assert!(!run.said().contains("hunter2"), "{run}");
    }
    for option in
        ["strict_host_key_checking = 'no'", "proxy_command = 'touch x'", "known_hosts = '/dev/null'"]
    {
        store.configure(&format!("[remotes.shared]\nurl = '{}'\n{option}\n", store.remote_url()));
        let name = option.split(' ').next().unwrap();
        assert_fails_fast(&store.larder(["ls"]), 2, &[name, "larder.toml:3"]);
    }
}
