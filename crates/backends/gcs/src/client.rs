//! Google's clients and credentials, and where they go.

use std::env;
use std::path::Path;
use std::time::Duration;

use google_cloud_auth::credentials::{self, Credentials, anonymous};
use google_cloud_gax::client_builder;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_storage::client::{Storage, StorageControl};
use google_cloud_storage::read_resume_policy::NeverResume;
use larder_backend::{Error, ErrorKind, Operation, Result, error_chain};
use larder_backend_http::retry::RetryBudget;

use crate::config::GcsConfig;
use crate::error::NO_CREDENTIALS;
use crate::http::Http;

/// Google's own server.
const GOOGLE: &str = "https://storage.googleapis.com";
/// What the names of Google's hosts end in.
const GOOGLES: &str = "googleapis.com";
/// What the tokens may be used for: no more than to read and write objects.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// Where a machine in Google Cloud is asked who it is. The variable is that of Google's tools.
const METADATA_VARIABLE: &str = "GCE_METADATA_HOST";
const METADATA_HOST: &str = "169.254.169.254";
/// How long it may take: it is on the same machine. Elsewhere nothing answers, and nobody should wait for that.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// What requests are made with.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Reads.
    pub(crate) storage: Storage,
    /// Lists, looks at objects and deletes them.
    pub(crate) control: StorageControl,
    /// Writes.
    pub(crate) http: Http,
    /// The URL of the server, where it is not Google's own.
    pub(crate) endpoint: Option<String>,
}

impl Connection {
    /// Looks for credentials. Asks nothing of Google Cloud Storage.
    pub(crate) async fn open(config: &GcsConfig, patience: &RetryBudget, location: &str) -> Result<Self> {
        for endpoint in [&config.options.endpoint, &config.options.grpc_endpoint].into_iter().flatten() {
            check_trust(config, endpoint, location)?;
        }
        let credentials = if config.options.anonymous {
            anonymous::Builder::new().build()
        } else {
            find_credentials(location).await?
        };
        let mut storage = Storage::builder()
            .with_credentials(credentials.clone())
            // Trying again is done in one place, which knows Retry-After, and when nothing moves.
            .with_retry_policy(NeverRetry)
            .with_read_resume_policy(NeverResume);
        let mut control =
            StorageControl::builder().with_credentials(credentials.clone()).with_retry_policy(NeverRetry);
        if let Some(endpoint) = &config.options.endpoint {
            storage = storage.with_endpoint(endpoint);
        }
        if let Some(endpoint) = config.options.grpc_endpoint.as_ref().or(config.options.endpoint.as_ref()) {
            control = control.with_endpoint(endpoint);
        }
        let failed = |error: client_builder::Error| {
            Error::new(ErrorKind::InvalidInput, Operation::Open, location)
                .with_hint("Google's client cannot be set up: check the endpoint and the credentials")
                .with_source(error_chain(&error))
        };
        let rest = config.options.endpoint.as_deref().unwrap_or(GOOGLE);
        Ok(Self {
            storage: storage.build().await.map_err(failed)?,
            control: control.build().await.map_err(failed)?,
            http: Http::new(rest, credentials, patience.clone(), location)?,
            endpoint: config.options.endpoint.clone(),
        })
    }
}

/// Google's credentials go to Google's hosts. What a file of the project says is not enough to send them elsewhere.
fn check_trust(config: &GcsConfig, endpoint: &str, location: &str) -> Result<()> {
    if config.options.anonymous || config.trusts_endpoint || is_googles(endpoint) {
        return Ok(());
    }
    let hint = format!(
        "{endpoint} is not Google's, and only a file of the project names it: credentials are not sent there. Name the remote \
         with -r or in your own configuration, or set the option anonymous=true"
    );
    Err(Error::new(ErrorKind::InvalidInput, Operation::Open, location).with_hint(hint))
}

fn is_googles(endpoint: &str) -> bool {
    let Some(rest) = endpoint.strip_prefix("https://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.split(':').next().unwrap_or_default();
    host.strip_suffix(GOOGLES).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Application Default Credentials.
async fn find_credentials(location: &str) -> Result<Credentials> {
    let unauthenticated =
        |hint: &str| Error::new(ErrorKind::Unauthenticated, Operation::Open, location).with_hint(hint);
    if !has_file() && !is_in_google_cloud().await {
        return Err(unauthenticated(NO_CREDENTIALS));
    }
    credentials::Builder::default().with_scopes([SCOPE]).build().map_err(|error| {
        unauthenticated("the file of Google credentials cannot be used: check GOOGLE_APPLICATION_CREDENTIALS, or log in again \
                         with `gcloud auth application-default login`")
            .with_source(error_chain(&error))
    })
}

/// Whether there is a file of credentials, or one is named.
fn has_file() -> bool {
    if env::var_os("GOOGLE_APPLICATION_CREDENTIALS").is_some() {
        return true;
    }
    let home = env::var_os("HOME").filter(|home| !home.is_empty());
    home.is_some_and(|home| {
        Path::new(&home).join(".config/gcloud/application_default_credentials.json").exists()
    })
}

/// Whether a metadata server of Google answers: other clouds have one at the same address. "Detect whether you're running on
/// Compute Engine" in Google's documentation of it names the header.
async fn is_in_google_cloud() -> bool {
    const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");
    let host = env::var(METADATA_VARIABLE).ok().filter(|host| !host.is_empty());
    let host = host.unwrap_or_else(|| METADATA_HOST.to_owned());
    // What is on this machine is reached through no proxy.
    let Ok(client) = reqwest::Client::builder().timeout(METADATA_TIMEOUT).no_proxy().build() else {
        return false;
    };
    let answer = client.get(format!("http://{host}/")).header(FLAVOR.0, FLAVOR.1).send().await;
    answer.is_ok_and(|answer| answer.headers().get(FLAVOR.0).is_some_and(|flavor| flavor == FLAVOR.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_google_unless_the_user_says_otherwise() {
        for googles in
            ["https://storage.googleapis.com", "https://storage.europe-west3.rep.googleapis.com:443/x"]
        {
            assert!(is_googles(googles), "{googles}");
        }
        for other in [
            "http://storage.googleapis.com",
            "https://storage.googleapis.com.evil.example",
            "https://evilgoogleapis.com",
            "https://127.0.0.1:9000/googleapis.com",
        ] {
            assert!(!is_googles(other), "{other}");
            let config = GcsConfig::new("b", "");
            assert!(check_trust(&config, other, "gs://b").is_err(), "{other}");
            assert!(check_trust(&config.with_trust(true), other, "gs://b").is_ok(), "{other}");
        }
    }
}
