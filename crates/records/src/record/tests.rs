use serde_json::Value;

use super::*;

const HEX: &str = "8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99";

fn output(path: &str, content: &str) -> RecordedOutput {
    RecordedOutput {
        path: OutputPath::new(path).unwrap(),
        content_hash: ContentHash::parse(content).unwrap(),
        object_bytes: 12,
        content_bytes: 34,
        files: 5,
        executable: (path == "metrics.json").then_some(true),
    }
}

fn record() -> RunRecord {
    let command_hash = CommandHash::parse(format!("blake3-{HEX}")).unwrap();
    let (started, finished) =
        (RunTime::from_millis(1_800_000_000_123), RunTime::from_millis(1_800_000_060_000));
    let outputs = vec![
        output("metrics.json", &format!("blake3-{HEX}")),
        output("models/en", &format!("sha256-tree-{HEX}")),
    ];
    let details = RunDetails {
        command: Some(vec!["python".into(), "train.py".into()]),
        cwd: "sub".into(),
        keys: [("os".to_owned(), "linux".to_owned())].into(),
        env: vec!["SEED".into()],
        manifest: Some("larder-command 1\n".into()),
        incremental: true,
        git: Some(GitState { commit: "0123".into(), dirty: Some(false) }),
        ci_url: Some("https://ci.example/1".into()),
        identity: Some(RunIdentity { user: "ada".into(), host: "lab".into() }),
        dependencies: vec![Dependency {
            name: "src".into(),
            content_hash: ContentHash::parse(format!("blake3-tree-{HEX}")).unwrap(),
            manifest: Some("larder-tree 1\n".into()),
        }],
    };
    let id = "00000000deadbeef".parse().unwrap();
    RunRecord { id, command_hash, started, finished, outputs, details }
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let record = record();
    assert_eq!(RunRecord::from_bytes(&record.to_bytes().unwrap()).unwrap(), record);
    let plain = RunRecord::new(RunId::random(), record.command_hash, record.started, record.finished);
    assert_eq!(RunRecord::from_bytes(&plain.to_bytes().unwrap()).unwrap(), plain);
}

#[test]
fn the_json_has_the_fields_of_both_standards() {
    let json: Value = serde_json::from_slice(&record().to_bytes().unwrap()).unwrap();
    assert_eq!(json["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(json["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(json["subject"][0]["digest"]["blake3"], HEX);
    assert_eq!(json["subject"][1]["digest"]["larder-tree-sha256"], HEX);
    let definition = &json["predicate"]["buildDefinition"];
    assert!(definition["buildType"].as_str().unwrap().ends_with("run-record.md#v1"));
    assert_eq!(definition["externalParameters"]["command"][1], "train.py");
    assert_eq!(definition["externalParameters"]["outputs"]["models/en"]["files"], 5);
    assert_eq!(definition["externalParameters"]["outputs"]["metrics.json"]["executable"], true);
    assert!(definition["externalParameters"]["outputs"]["models/en"].get("executable").is_none());
    assert_eq!(definition["internalParameters"]["command_hash"], format!("blake3-{HEX}"));
    assert_eq!(definition["internalParameters"]["git"]["dirty"], false);
    assert_eq!(definition["resolvedDependencies"][0]["digest"]["larder-tree-blake3"], HEX);
    assert_eq!(definition["resolvedDependencies"][0]["annotations"]["manifest"], "larder-tree 1\n");
    let details = &json["predicate"]["runDetails"];
    assert_eq!(details["metadata"]["invocationId"], "00000000deadbeef");
    assert_eq!(details["metadata"]["startedOn"], "2027-01-15T08:00:00.123Z");
}

#[test]
fn a_push_has_a_null_command_and_no_optional_fields() {
    let record = record();
    let push = RunRecord::new(record.id, record.command_hash, record.started, record.finished);
    let json: Value = serde_json::from_slice(&push.to_bytes().unwrap()).unwrap();
    let definition = &json["predicate"]["buildDefinition"];
    assert!(definition["externalParameters"].as_object().unwrap()["command"].is_null());
    let internal: Vec<&String> = definition["internalParameters"].as_object().unwrap().keys().collect();
    assert_eq!(internal, ["command_hash", "incremental"]);
}

#[test]
fn a_custom_hash_is_opaque() {
    let mut record = record();
    record.outputs = vec![output("m", "v1_2")];
    let json: Value = serde_json::from_slice(&record.to_bytes().unwrap()).unwrap();
    assert_eq!(json["subject"][0]["digest"]["opaque"], "v1_2");
}

/// Large records lose their parts in the promised order.
#[test]
fn a_large_record_is_shortened() {
    let text = |bytes: usize| "x".repeat(bytes);
    let mut record = record();
    record.details.dependencies[0].manifest = Some(text(MAX_MANIFESTS));
    record.details.manifest = Some(text(900 << 10));
    record.details.command = Some(vec![text(50 << 10)]);
    let read = |record: &RunRecord| RunRecord::from_bytes(&record.to_bytes().unwrap()).unwrap();
    assert_eq!(read(&record), record, "it is smaller than 1 MiB");

    record.details.command = Some(vec![text(100 << 10)]);
    let shorter = read(&record);
    assert_eq!(
        (shorter.details.dependencies[0].manifest.as_ref(), &shorter.details.manifest),
        (None, &record.details.manifest)
    );

    record.details.command = Some(vec![text(200 << 10)]);
    let shorter = read(&record);
    assert_eq!((&shorter.details.manifest, &shorter.details.command), (&None, &record.details.command));

    record.details.command = Some(vec![text(2 << 20)]);
    let shorter = read(&record);
    assert_eq!((&shorter.details.command, shorter.details.dependencies.len()), (&None, 1));
    assert_eq!(shorter.outputs, record.outputs);

    record.details.env = vec![text(2 << 20)];
    assert!(matches!(record.to_bytes(), Err(InvalidRecord::TooLarge)));
}

#[test]
fn tree_manifests_stay_below_64_kib_together() {
    let mut record = record();
    let large = Dependency { manifest: Some("x".repeat(40 << 10)), ..record.details.dependencies[0].clone() };
    let small = Dependency { manifest: Some("x".repeat(20 << 10)), ..large.clone() };
    record.details.dependencies = vec![large.clone(), large, small];
    let read = RunRecord::from_bytes(&record.to_bytes().unwrap()).unwrap();
    let kept: Vec<bool> =
        read.details.dependencies.iter().map(|dependency| dependency.manifest.is_some()).collect();
    assert_eq!(kept, [true, false, true]);
}

#[test]
fn foreign_bytes_are_refused() {
    let bytes = record().to_bytes().unwrap();
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut json = json.clone();
        change(&mut json);
        RunRecord::from_bytes(&serde_json::to_vec(&json).unwrap())
    };
    let definition = "buildDefinition";
    assert!(matches!(
        changed(&|json| json["predicate"][definition]["buildType"] = "x/run-record.md#v2".into()),
        Err(InvalidRecord::Kind)
    ));
    assert!(matches!(changed(&|json| json["predicateType"] = "x".into()), Err(InvalidRecord::Kind)));
    for path in ["../up", "/abs", "a/../b", "a/", ".git/hooks", ""] {
        let moved = changed(&|json| {
            let outputs = &mut json["predicate"][definition]["externalParameters"]["outputs"];
            let output = outputs["models/en"].take();
            *outputs = serde_json::json!({ path: output });
        });
        assert!(
            matches!(moved, Err(InvalidRecord::Path(_) | InvalidRecord::PathText(_))),
            "{path}: {moved:?}"
        );
    }
    let hash = changed(&|json| {
        json["predicate"][definition]["internalParameters"]["command_hash"] = "a/b".into();
    });
    assert!(matches!(hash, Err(InvalidRecord::Hash(_))));
    assert!(matches!(
        changed(&|json| json["predicate"]["runDetails"]["metadata"]["startedOn"] = "yesterday".into()),
        Err(InvalidRecord::Time(_))
    ));
    assert!(changed(&|json| json["extra"] = "field".into()).is_ok(), "unknown fields are ignored");
    for junk in [&b""[..], b"{}", b"null", b"[]", b"\xff", &vec![b'['; MAX_BYTES]] {
        assert!(matches!(RunRecord::from_bytes(junk), Err(InvalidRecord::Json(_))));
    }
    assert!(matches!(RunRecord::from_bytes(&vec![b' '; MAX_BYTES + 1]), Err(InvalidRecord::TooLarge)));
}
