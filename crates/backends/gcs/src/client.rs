//! Google's clients, their credentials, and the servers that get these.

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
use crate::http::WatchedHttp;

/// Google's own server.
const GOOGLE: &str = "https://storage.googleapis.com";
/// The domain of Google's hosts.
const GOOGLES_DOMAIN: &str = "googleapis.com";
/// The permission that tokens carry: to read and write objects.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// The metadata server, which gives a machine in Google Cloud its credentials. Google's tools read the same variable.
const METADATA_VARIABLE: &str = "GCE_METADATA_HOST";
const METADATA_HOST: &str = "169.254.169.254";
/// How long the metadata server may take. It is on the same machine, and outside of Google Cloud nothing answers.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// The clients of one remote.
#[derive(Debug)]
pub(crate) struct GcsConnection {
    /// Reads objects.
    pub(crate) storage: Storage,
    /// Lists, describes and deletes objects.
    pub(crate) control: StorageControl,
    /// Writes objects.
    pub(crate) http: WatchedHttp,
    /// The URL of the server, if it is not Google's own.
    pub(crate) endpoint: Option<String>,
}

impl GcsConnection {
    /// Looks for credentials. Makes no request to Google Cloud Storage.
    pub(crate) async fn open(config: &GcsConfig, retry_budget: &RetryBudget, location: &str) -> Result<Self> {
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
            // `RetryBudget` decides about retries: it knows Retry-After, and whether bytes move.
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
                .with_hint("Google's client could not be set up: check the endpoint and the credentials")
                .with_source(error_chain(&error))
        };
        let rest = config.options.endpoint.as_deref().unwrap_or(GOOGLE);
        Ok(Self {
            storage: storage.build().await.map_err(failed)?,
            control: control.build().await.map_err(failed)?,
            http: WatchedHttp::new(rest, credentials, retry_budget.clone(), location)?,
            endpoint: config.options.endpoint.clone(),
        })
    }
}

/// Refuses to send Google's credentials to other hosts, unless the user has named the endpoint. A file of the project is
/// not enough.
fn check_trust(config: &GcsConfig, endpoint: &str, location: &str) -> Result<()> {
    if config.options.anonymous || config.trusts_endpoint || is_googles(endpoint) {
        return Ok(());
    }
    let hint = format!(
        "only a file of the project names the endpoint {endpoint}, and it is not Google's: credentials are not sent there. \
         Name the remote with -r or in your own configuration, or set the option anonymous=true"
    );
    Err(Error::new(ErrorKind::InvalidInput, Operation::Open, location).with_hint(hint))
}

fn is_googles(endpoint: &str) -> bool {
    let Some(rest) = endpoint.strip_prefix("https://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.split(':').next().unwrap_or_default();
    host.strip_suffix(GOOGLES_DOMAIN).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Finds Application Default Credentials.
async fn find_credentials(location: &str) -> Result<Credentials> {
    let unauthenticated =
        |hint: &str| Error::new(ErrorKind::Unauthenticated, Operation::Open, location).with_hint(hint);
    if !has_file() && !is_in_google_cloud().await {
        return Err(unauthenticated(NO_CREDENTIALS));
    }
    credentials::Builder::default().with_scopes([SCOPE]).build().map_err(|error| {
        unauthenticated("the file of Google credentials could not be used: check GOOGLE_APPLICATION_CREDENTIALS, or log in again \
                         with `gcloud auth application-default login`")
            .with_source(error_chain(&error))
    })
}

/// Whether there is a file of credentials, or the environment names one.
fn has_file() -> bool {
    if env::var_os("GOOGLE_APPLICATION_CREDENTIALS").is_some() {
        return true;
    }
    let home = env::var_os("HOME").filter(|home| !home.is_empty());
    home.is_some_and(|home| {
        Path::new(&home).join(".config/gcloud/application_default_credentials.json").exists()
    })
}

/// Whether Google's metadata server answers. Other clouds have one at the same address, so a header decides: see "Detect
/// whether you're running on Compute Engine" in Google's documentation.
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
