//! The server of a test, which the environment names.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};

/// A server. `LARDER_TEST_<BACKEND>_URL` names the URL for tests. `cargo xtask integration` starts a server, or uses the
/// caller's.
#[derive(Clone, Debug)]
pub struct Server {
    url: String,
}

impl Server {
    /// Returns the server of this backend. The test must name it in its needs.
    ///
    /// # Panics
    ///
    /// Panics if the environment names none.
    #[track_caller]
    pub fn of(backend: &str) -> Self {
        let url = url(backend).unwrap_or_else(|| panic!("{} names no server", variable(backend)));
        Self { url }
    }

    pub(crate) fn is_there(backend: &str) -> bool {
        url(backend).is_some()
    }

    /// Returns the URL below which tests may write. Other tests write there too.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the URL of a new remote for one test.
    pub fn remote(&self) -> String {
        let unique = RandomState::new().hash_one(std::process::id());
        let (place, query) = self.url.split_once('?').map_or((&*self.url, None), |(a, b)| (a, Some(b)));
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}/test-{unique:016x}{query}", place.trim_end_matches('/'))
    }

    /// Returns the variables of the server.
    pub fn env(&self) -> impl Iterator<Item = (OsString, OsString)> + use<> {
        let of_clouds = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with("AWS_") || name.starts_with("GOOGLE_")
        };
        // The variables with which Google's tools find an emulator.
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
