//! The server that a test talks to, as the environment names it.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};

/// A server whose place for tests `LARDER_TEST_<BACKEND>_URL` names. `cargo xtask integration` starts one, or takes the
/// caller's.
#[derive(Clone, Debug)]
pub struct Server {
    url: String,
}

impl Server {
    /// The server of this backend, in a test that names it in its needs.
    ///
    /// # Panics
    ///
    /// There is none.
    #[track_caller]
    pub fn of(backend: &str) -> Self {
        let url = url(backend).unwrap_or_else(|| panic!("{} names no server", variable(backend)));
        Self { url }
    }

    pub(crate) fn is_there(backend: &str) -> bool {
        url(backend).is_some()
    }

    /// Where tests may write: others write there too.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of a remote that nobody else has.
    pub fn remote(&self) -> String {
        let unique = RandomState::new().hash_one(std::process::id());
        let (place, query) = self.url.split_once('?').map_or((&*self.url, None), |(a, b)| (a, Some(b)));
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}/test-{unique:016x}{query}", place.trim_end_matches('/'))
    }

    /// The variables that lead to it.
    pub fn env(&self) -> impl Iterator<Item = (OsString, OsString)> + use<> {
        let of_clouds = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with("AWS_") || name.starts_with("GOOGLE_")
        };
        // Where a server for Google's clients is, in the words of Google's tools.
        let emulators = [
            ("STORAGE_EMULATOR_HOST", "LARDER_TEST_GCS_ENDPOINT"),
            ("STORAGE_EMULATOR_GRPC_HOST", "LARDER_TEST_GCS_GRPC_ENDPOINT"),
        ];
        let emulators =
            emulators.into_iter().filter_map(|(name, ours)| Some((name.into(), std::env::var_os(ours)?)));
        std::env::vars_os().filter(move |(name, _)| of_clouds(name)).chain(emulators)
    }
}

fn variable(backend: &str) -> String {
    format!("LARDER_TEST_{}_URL", backend.to_uppercase())
}

fn url(backend: &str) -> Option<String> {
    std::env::var(variable(backend)).ok().filter(|url| !url.is_empty())
}
