//! The one place that knows which backends there are. A new one adds a feature, a [`Place`] and an arm here.

use std::sync::Arc;

use larder_backend::Backend;

use crate::error::Result;
use crate::options::StorageOptions;
use crate::remote_url::{InvalidRemote, Place, RemoteUrl};

/// Opens the remote. Nothing is created and no request is made before the first operation.
pub(crate) fn open(remote: &RemoteUrl, options: &StorageOptions) -> Result<Arc<dyn Backend>> {
    match &remote.place {
        #[cfg(feature = "local")]
        Place::Directory { path, embedded } => {
            use larder_backend_local::{CreateRoot, LocalBackend, LocalConfig};
            if let Some((option, _)) = remote.options()?.next() {
                return Err(remote.unknown_option(option, "a directory has none").into());
            }
            let create = if *embedded { CreateRoot::All } else { CreateRoot::LastComponent };
            let config =
                LocalConfig::new(path.clone()).with_create(create).with_stall_timeout(options.stall_timeout);
            Ok(Arc::new(LocalBackend::open(config)?))
        }
        #[cfg(not(feature = "local"))]
        Place::Directory { .. } => Err(InvalidRemote::NoBackend { scheme: "file".to_owned() }.into()),
        #[cfg(feature = "s3")]
        Place::S3 { bucket, prefix } => {
            use larder_backend_s3::{S3Backend, S3Config};
            let mut config = S3Config::new(bucket, prefix).with_stall_timeout(options.stall_timeout);
            for (option, value) in remote.options()? {
                let set = config.with_option(option, value);
                config =
                    set.map_err(|invalid| invalid_option(remote, option, &invalid, S3Config::OPTIONS))?;
            }
            Ok(Arc::new(S3Backend::new(config)))
        }
        #[cfg(not(feature = "s3"))]
        Place::S3 { .. } => Err(InvalidRemote::NoBackend { scheme: "s3".to_owned() }.into()),
        #[cfg(feature = "gcs")]
        Place::Gcs { bucket, prefix } => {
            use larder_backend_gcs::{GcsBackend, GcsConfig};
            let mut config = GcsConfig::new(bucket, prefix)
                .with_trust(!remote.is_of_project())
                .with_stall_timeout(options.stall_timeout);
            for (option, value) in remote.options()? {
                let set = config.with_option(option, value);
                config =
                    set.map_err(|invalid| invalid_option(remote, option, &invalid, GcsConfig::OPTIONS))?;
            }
            if let Some(host) = &options.gcs.host {
                let set = config.with_emulator(host, options.gcs.grpc_host.as_deref());
                config = set.map_err(|invalid| InvalidRemote::Emulator(invalid.to_string()))?;
            }
            Ok(Arc::new(GcsBackend::new(config)))
        }
        #[cfg(not(feature = "gcs"))]
        Place::Gcs { .. } => Err(InvalidRemote::NoBackend { scheme: "gs".to_owned() }.into()),
        #[cfg(feature = "ssh")]
        Place::Ssh { user, host, port, path } => {
            use larder_backend_ssh::{AskPassphrase, Passphrase, RemotePath, SshBackend, SshConfig};
            if let Some((option, _)) = remote.options()?.next() {
                // Nothing that a project says may weaken how hosts are checked.
                return Err(remote
                    .unknown_option(option, "SSH has none; what OpenSSH knows stands in ~/.ssh/config")
                    .into());
            }
            let path = match path {
                crate::remote_url::SshPath::Absolute(path) => RemotePath::Absolute(path.clone()),
                crate::remote_url::SshPath::Home(path) => RemotePath::Home(path.clone()),
            };
            let access = &options.ssh;
            let mut config = SshConfig::new(host, path);
            if let Some(home) = &access.home {
                config = config.with_openssh_defaults(home);
            }
            let ask = access
                .passphrase
                .clone()
                .map(|ask| AskPassphrase::new(move |identity| ask(identity).map(Passphrase::new)));
            let config = config
                .with_user(user.clone())
                .with_port(*port)
                .with_local_user(access.user.clone())
                .with_agent(access.agent.clone())
                .with_passphrase(ask)
                .with_stall_timeout(options.stall_timeout);
            Ok(Arc::new(SshBackend::new(config)))
        }
        #[cfg(not(feature = "ssh"))]
        Place::Ssh { .. } => Err(InvalidRemote::NoBackend { scheme: "ssh".to_owned() }.into()),
    }
}

#[cfg(any(feature = "s3", feature = "gcs"))]
fn invalid_option(
    remote: &RemoteUrl,
    option: &str,
    invalid: &larder_backend_http::remote_option::InvalidOption,
    known: &'static str,
) -> InvalidRemote {
    use larder_backend_http::remote_option::InvalidOption;
    match *invalid {
        InvalidOption::Unknown => remote.unknown_option(option, known),
        InvalidOption::Value(takes) => {
            let (remote, option) = (remote.to_string(), option.to_owned());
            InvalidRemote::OptionValue { remote, option, takes }
        }
    }
}
