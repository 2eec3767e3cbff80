//! The SDK's client: credentials, region, endpoint, TLS, proxies.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector};
use larder_backend::{Error, ErrorKind, Operation, Result};
use larder_backend_http::remote_option::{ENDPOINT, endpoint};
use larder_backend_http::retry::RetryBudget;

use crate::config::S3Config;
use crate::watch::{RemoteClock, WatchedClient};

/// How long the metadata service of an instance may take. It is on the same machine, and outside of AWS nothing answers.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest time for a connection, even if the no-progress timeout is longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The first line of a certificate.
const PEM_BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The client of one remote.
#[derive(Debug)]
pub(crate) struct S3Connection {
    pub(crate) client: Client,
    pub(crate) clock: RemoteClock,
    /// The URL of the server, if it is not AWS's own. The abilities of such a server are unknown.
    pub(crate) endpoint: Option<String>,
    /// Whether bodies carry a checksum. Then the signature needs no hash of them.
    pub(crate) has_checksums: bool,
}

impl S3Connection {
    /// Reads the AWS configuration. Makes no request to S3, but may request credentials from other services.
    pub(crate) async fn open(config: &S3Config, budget: &RetryBudget, location: &str) -> Result<Self> {
        let clock = RemoteClock::default();
        let http = http_client(budget.clone(), clock.clone(), location)?;
        let http = SharedHttpClient::new(http);

        let provider_config = ProviderConfig::default().with_http_client(http.clone());
        let metadata = imds::Client::builder()
            .configure(&provider_config)
            .max_attempts(1)
            .connect_timeout(METADATA_TIMEOUT)
            .read_timeout(METADATA_TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            // `RetryBudget` decides about retries.
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT.min(budget.attempt_timeout()))
                    .build(),
            )
            // A wrong clock is an error. Certificates and logs need the right time too.
            .disable_clock_skew_correction(true);
        if let Some(profile) = &config.options.profile {
            loader = loader.profile_name(profile);
        }
        let region = region(config, &metadata).await;
        loader = loader.region(region.clone());
        loader = if config.options.anonymous {
            loader.no_credentials()
        } else if let Some(profile) = &config.options.profile {
            // A profile takes precedence over the environment, as for other AWS tools.
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&provider_config.with_region(Some(region)))
                .profile_name(profile);
            loader.credentials_provider(provider.build())
        } else {
            let chain = DefaultCredentialsChain::builder()
                .configure(provider_config)
                .imds_client(metadata)
                .region(region);
            loader.credentials_provider(chain.build().await)
        };
        let sdk = loader.load().await;

        let configured = || match configured_endpoint(&sdk).map(|url| endpoint(&url)) {
            None => Ok(None),
            Some(Ok(url)) => Ok(Some(url)),
            // The message does not repeat the value, which may contain a password.
            Some(Err(_)) => Err(Error::new(ErrorKind::InvalidInput, Operation::Open, location).with_hint(
                format!("AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL and endpoint_url take {ENDPOINT}"),
            )),
        };
        let endpoint = match &config.options.endpoint {
            Some(endpoint) => Some(endpoint.clone()),
            None => configured()?,
        };
        let has_checksums =
            sdk.request_checksum_calculation() != Some(RequestChecksumCalculation::WhenRequired);
        let mut s3 = aws_sdk_s3::config::Builder::from(&sdk);
        s3.set_endpoint_url(endpoint.clone());
        s3.set_force_path_style(Some(config.options.force_path_style.unwrap_or(endpoint.is_some())));
        Ok(Self { client: Client::from_conf(s3.build()), clock, endpoint, has_checksums })
    }
}

/// The region: the given one, or else that of AWS tools, or else the usual one of servers with an endpoint.
async fn region(config: &S3Config, metadata: &imds::Client) -> Region {
    if let Some(region) = &config.options.region {
        return Region::new(region.clone());
    }
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &config.options.profile {
        profile = profile.profile_name(name);
    }
    let mut chain =
        RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profile.build());
    if config.options.endpoint.is_none() {
        chain =
            chain.or_else(imds::region::ImdsRegionProvider::builder().imds_client(metadata.clone()).build());
    }
    chain.region().await.unwrap_or(Region::from_static("us-east-1"))
}

/// The endpoint that the environment or the profile sets, for S3 or for all services.
fn configured_endpoint(sdk: &SdkConfig) -> Option<String> {
    let key = aws_types::service_config::ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let for_s3 = sdk.service_config().and_then(|service| service.load_config(key));
    let for_s3 = for_s3.filter(|url| !url.is_empty());
    for_s3.or_else(|| sdk.endpoint_url().map(str::to_owned)).filter(|url| !url.is_empty())
}

/// The SDK's HTTP client, with proxies from the environment, and with `AWS_CA_BUNDLE`, as for other AWS tools.
fn http_client(budget: RetryBudget, clock: RemoteClock, location: &str) -> Result<WatchedClient> {
    let mut trusted = TrustStore::default();
    if let Some(path) = env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        let path = Path::new(&path);
        let pem = fs::read(path).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, Operation::Open, location)
                .with_hint(format!("AWS_CA_BUNDLE names {}, which cannot be read", path.display()))
                .with_source(error)
        })?;
        // The TLS library silently accepts a file without certificates.
        if !pem.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN) {
            return Err(Error::new(ErrorKind::InvalidInput, Operation::Open, location).with_hint(format!(
                "AWS_CA_BUNDLE names {}, which has no certificate in PEM",
                path.display()
            )));
        }
        // The bundle replaces the certificates of the system, as for other AWS tools.
        trusted = TrustStore::empty().with_pem_certificate(pem);
    }
    let tls = TlsContext::builder().with_trust_store(trusted).build().map_err(|error| {
        Error::new(ErrorKind::InvalidInput, Operation::Open, location)
            .with_hint("AWS_CA_BUNDLE must name a file of certificates in PEM")
            .with_source(error)
    })?;
    Ok(WatchedClient::new(budget, clock, move |settings, sleep| {
        let mut connector = Connector::builder()
            .connector_settings(settings.clone())
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls.clone());
        connector.set_sleep_impl(sleep);
        SharedHttpConnector::new(connector.build())
    }))
}
