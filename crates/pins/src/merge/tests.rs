use proptest::prelude::*;

use super::*;
use crate::conflicted::ConflictedLock;
use crate::samples::{pin, pins};

fn path(text: &str) -> OutputPath {
    OutputPath::new(text).unwrap()
}

fn merge(ours: &LarderLock, theirs: &LarderLock, base: Option<&LarderLock>) -> LockMerge {
    LockMerge::new(Path::new("larder.lock"), ours, theirs, base)
}

fn paths(merge: &LockMerge) -> Vec<&str> {
    merge.conflicts().iter().map(|conflict| conflict.path.as_str()).collect()
}

#[test]
fn a_change_on_one_side_is_taken() {
    let base = pins(&[("removed", "1"), ("changed", "1"), ("same", "1"), ("both", "1")]);
    let ours = pins(&[("changed", "1"), ("same", "1"), ("both", "2"), ("added", "1")]);
    let theirs = pins(&[("removed", "1"), ("changed", "2"), ("same", "1"), ("both", "2"), ("other", "1")]);
    let expected = pins(&[("changed", "2"), ("same", "1"), ("both", "2"), ("added", "1"), ("other", "1")]);
    for (ours, theirs) in [(&ours, &theirs), (&theirs, &ours)] {
        let merged = merge(ours, theirs, Some(&base)).finish().unwrap();
        assert_eq!(merged, expected);
    }
}

#[test]
fn without_a_base_only_different_pins_of_one_output_conflict() {
    let ours = pins(&[("a", "1"), ("b", "1"), ("c", "1")]);
    let theirs = pins(&[("a", "1"), ("b", "2"), ("d", "1")]);
    let merged = merge(&ours, &theirs, None);
    assert_eq!(paths(&merged), ["b"]);
    let settled: Vec<&str> = merged.settled().map(|pin| pin.path.as_str()).collect();
    assert_eq!(settled, ["a", "c", "d"]);
}

#[test]
fn a_removal_and_a_change_are_a_conflict() {
    let base = pins(&[("a", "1"), ("b", "1")]);
    let (ours, theirs) = (pins(&[("a", "2")]), pins(&[("b", "2")]));
    let both = merge(&ours, &theirs, Some(&base));
    let mut merge = both.clone();
    assert_eq!(paths(&merge), ["a", "b"]);
    assert_eq!(
        merge.conflicts()[1],
        PinConflict { path: path("b"), ours: None, theirs: Some(pin("b", "2")), base: Some(pin("b", "1")) }
    );
    let said = merge.finish().unwrap_err().to_string();
    assert!(said.contains("conflicts of a merge in `a` and `b`: `larder pin PATH`"), "{said}");

    assert!(merge.settle(&path("a"), Side::Theirs) && !merge.settle(&path("a"), Side::Theirs));
    assert_eq!(paths(&merge), ["b"]);
    assert_eq!(merge.settle_all(Side::Theirs), 1);
    assert_eq!(merge.finish().unwrap(), pins(&[("b", "2")]));

    let mut merge = both;
    merge.settle_with(pin("a", "3"));
    assert!(merge.settle_without(&path("b")) && !merge.settle_without(&path("c")));
    assert_eq!(merge.finish().unwrap(), pins(&[("a", "3")]));
}

#[test]
fn pins_of_both_sides_that_are_nested_are_named() {
    let said = merge(&pins(&[("a", "1")]), &pins(&[("a/b", "1")]), None).finish().unwrap_err().to_string();
    let expected = "the merge of larder.lock has pins that clash: `a/b` is inside `a`, and only one of them";
    assert!(said.starts_with(expected), "{said}");
}

/// Returns the pin of one output on both sides and before: absent, or one of three contents.
fn any_triples() -> impl Strategy<Value = Vec<[Option<u8>; 3]>> {
    let content = || prop::option::of(0_u8..3);
    prop::collection::vec([content(), content(), content()], 0..8)
}

fn lock_of(triples: &[[Option<u8>; 3]], of: usize) -> LarderLock {
    let mut lock = LarderLock::default();
    for (index, triple) in triples.iter().enumerate() {
        if let Some(content) = triple[of] {
            lock.insert(pin(&format!("out{index}"), &content.to_string())).unwrap();
        }
    }
    lock
}

proptest! {
    #[test]
    fn every_pin_is_merged_by_itself(triples in any_triples(), has_base: bool) {
        let [ours, theirs, base] = [0, 1, 2].map(|of| lock_of(&triples, of));
        let mut merge = merge(&ours, &theirs, has_base.then_some(&base));
        let mut expected_conflicts = Vec::new();
        let mut expected = Vec::new();
        for (index, [ours, theirs, base]) in triples.iter().enumerate() {
            // The model: a change from `base`, or from nothing, wins over no change.
            let base = if has_base { *base } else { None };
            let name = format!("out{index}");
            let winner = match (*ours == base, *theirs == base) {
                (_, true) => Some(ours),
                (true, _) => Some(theirs),
                _ if ours == theirs => Some(ours),
                _ => None,
            };
            match winner {
                Some(content) => expected.push((name, *content)),
                None => expected_conflicts.push((name, *ours)),
            }
        }
        let conflicts: Vec<String> = expected_conflicts.iter().map(|(name, _)| name.clone()).collect();
        prop_assert_eq!(paths(&merge), conflicts);
        prop_assert_eq!(merge.finish().is_ok(), expected_conflicts.is_empty());
        // The markers keep what is settled and what is not.
        let again = ConflictedLock::parse(&merge.to_text(), Path::new("larder.lock")).unwrap();
        prop_assert_eq!(&again.merge(None), &merge);
        merge.settle_all(Side::Ours);
        let merged = merge.finish().unwrap();
        for (name, content) in expected.into_iter().chain(expected_conflicts) {
            let expected = content.map(|content| pin(&name, &content.to_string()));
            prop_assert_eq!(merged.get(&path(&name)), expected.as_ref());
        }
    }
}
