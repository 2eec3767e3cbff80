//! Names in a remote that are near one that it lacks.

use larder_pins::LarderLock;
use larder_storage::{Error, OutputPath, RemoteStorage};

/// How many names a hint has.
const MAX_NAMES: usize = 3;

/// The similarity from which two names are near, from 0 to 1. Names of unrelated outputs stay below 0.8.
const NEAR: f64 = 0.85;

/// Adds the nearest names in the remote to a result, if the remote has no object of the only output.
pub(super) async fn with_near_names<T>(
    storage: &RemoteStorage,
    result: larder_storage::Result<T>,
) -> (larder_storage::Result<T>, Vec<String>) {
    let near = match &result {
        Err(Error::NotFound { outputs, narrowed: false, .. }) => match outputs.as_slice() {
            // A hint is not worth another error.
            [missing] => nearest(missing.as_str(), storage.list_names().await.unwrap_or_default()),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    (result, near)
}

/// Returns the pins that are near an output without one: those inside it, and those with similar names.
pub(super) fn nearest_pins(path: &OutputPath, pins: &LarderLock) -> Vec<String> {
    let inside = pins.iter().filter(|pin| path.contains(&pin.path)).map(|pin| pin.path.to_string());
    let inside: Vec<String> = inside.take(MAX_NAMES).collect();
    if !inside.is_empty() {
        return inside;
    }
    nearest(path.as_str(), pins.iter().map(|pin| pin.path.to_string()).collect())
}

/// Returns the names that are near a name, the nearest first.
fn nearest(name: &str, names: Vec<String>) -> Vec<String> {
    let last = |name: &str| name.rsplit('/').next().map(str::to_owned);
    let similarity = |other: &str| {
        // The same file in another directory.
        if last(other) == last(name) { 1.0 } else { strsim::jaro_winkler(name, other) }
    };
    let mut near: Vec<(f64, String)> = names
        .into_iter()
        .map(|other| (similarity(&other), other))
        .filter(|(near, _)| *near >= NEAR)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(MAX_NAMES).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_and_other_directories_are_near() {
        let names = || ["models/en", "models/de", "metrics.json", "corpus"].map(str::to_owned).to_vec();
        assert_eq!(nearest("models/em", names())[0], "models/en");
        assert_eq!(nearest("model/en", names())[0], "models/en");
        assert_eq!(nearest("out/metrics.json", names()), ["metrics.json"]);
        assert!(nearest("weights", names()).is_empty());
    }
}
