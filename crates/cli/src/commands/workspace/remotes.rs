//! The remotes of pins.

use std::collections::BTreeMap;

use larder_pins::Pin;

/// Groups pins by the remote that they name. `None` is the default one.
pub(super) fn by_remote(pins: Vec<Pin>) -> BTreeMap<Option<String>, Vec<Pin>> {
    let mut groups: BTreeMap<Option<String>, Vec<Pin>> = BTreeMap::new();
    for pin in pins {
        groups.entry(pin.remote.clone()).or_default().push(pin);
    }
    groups
}
