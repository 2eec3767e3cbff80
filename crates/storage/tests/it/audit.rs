//! Audits of a remote.

use std::fs;

use larder_storage::{Checked, PushOptions, Stored, StoredKind};

use crate::support::{Lab, command, output, write};

/// Returns the findings in the remote, with the result of reading each.
async fn look(lab: &Lab) -> Vec<(String, String)> {
    let storage = lab.storage();
    let mut seen = Vec::new();
    for stored in storage.list_all().await.unwrap() {
        let told = match &stored.what {
            StoredKind::Object { output, object } => match storage.check(output, object).await.unwrap() {
                Checked::Whole { verified } => format!("whole {verified}"),
                Checked::Truncated { .. } => "truncated".to_owned(),
                Checked::Damaged { .. } => "damaged".to_owned(),
                Checked::OtherContent { .. } => "other content".to_owned(),
                Checked::OtherOutput { .. } => "other output".to_owned(),
                other => format!("{other:?}"),
            },
            StoredKind::Empty { .. } => "empty".to_owned(),
            StoredKind::Foreign { .. } => "foreign".to_owned(),
            _ => unreachable!("no more kinds"),
        };
        let key = stored.url.strip_prefix(&format!("{}/", lab.remote.path().display())).unwrap().to_owned();
        seen.push((key, told));
    }
    storage.close().await.unwrap();
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_an_object_have_different_errors() {
    let lab = Lab::default();
    let storage = lab.storage();
    for name in ["cut", "empty", "flipped", "moved", "whole"] {
        lab.write(name, format!("the content of {name}"));
        storage.push(&output(name), &command("c"), &PushOptions::default()).await.unwrap();
    }
    storage.close().await.unwrap();
    let objects = lab.objects();
    let object = |name: &str| lab.object(objects.iter().find(|key| key.starts_with(name)).unwrap());
    let bytes = fs::read(object("cut")).unwrap();
    fs::write(object("cut"), &bytes[..bytes.len() - 5]).unwrap();
    fs::write(object("empty"), "").unwrap();
    let mut bytes = fs::read(object("flipped")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(object("flipped"), bytes).unwrap();
    // The right archive under the name of another content, and under that of another output.
    fs::copy(object("whole"), lab.object("whole/c").join(format!("blake3-{}", "0".repeat(64)))).unwrap();
    fs::copy(object("whole"), object("moved")).unwrap();
    write(&lab.object(".DS_Store"), "x");
    write(&lab.object("whole/c/deeper/x"), "x");
    write(&lab.object("later/c/x"), "larder-of-tomorrow");
    write(&lab.object(".larder/1/own"), "x");
    let seen = look(&lab).await;
    let told = |start: &str| -> Vec<&str> {
        let of = seen.iter().filter(|(key, _)| key.starts_with(start));
        of.map(|(_, told)| told.as_str()).collect()
    };
    assert_eq!(told("cut/"), ["truncated"]);
    assert_eq!(told("flipped/"), ["damaged"]);
    assert_eq!(told("empty/"), ["empty"]);
    assert_eq!(told("moved/"), ["other output"]);
    assert_eq!(told("later/"), ["NeedsNewerLarder"]);
    assert_eq!(told(".DS_Store"), ["foreign"]);
    let mut whole = told("whole/");
    whole.sort_unstable();
    assert_eq!(whole, ["foreign", "other content", "whole true"]);
    assert!(told(".larder").is_empty());
    assert!(lab.leftovers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_object_is_not_deleted() {
    let lab = Lab::default();
    lab.write("a", "a");
    let storage = lab.storage();
    storage.push(&output("a"), &command("c"), &PushOptions::default()).await.unwrap();
    let all: Vec<Stored> = storage.list_all().await.unwrap();
    let object = lab.object(&lab.objects()[0]);
    let bytes = fs::read(&object).unwrap();
    fs::write(&object, [&bytes[..], b"more"].concat()).unwrap();
    assert!(!storage.delete(&all[0]).await.unwrap());
    assert!(object.exists());
    let all = storage.list_all().await.unwrap();
    assert!(storage.delete(&all[0]).await.unwrap());
    assert!(!object.exists());
    assert!(!storage.delete(&all[0]).await.unwrap(), "it is gone");
    storage.close().await.unwrap();
}
