//! Connects to the host, and checks its key.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_backend::ErrorKind;
use ssh2::MethodType;

use crate::error::Trouble;
use crate::known_hosts::{self, KnownHosts, Verdict};
use crate::opening_watch::{Blocker, OpeningWatch};
use crate::openssh::HostSettings;
use crate::shell::{quoted, quoted_path};
use crate::stream::Stream;
use crate::wire::SessionWire;

/// The system takes no timeout of zero.
const SHORTEST_CONNECT: Duration = Duration::from_millis(1);

/// Connects to the host.
pub(crate) fn connect(
    settings: &HostSettings,
    limit: Duration,
    watch: &OpeningWatch,
) -> Result<(Arc<Stream>, Option<crate::proxy::Running>), Trouble> {
    if let Some(proxy) = &settings.proxy {
        let (stream, running) = proxy.start().map_err(|error| {
            Trouble::new(ErrorKind::Unavailable)
                .with_hint("the program of ProxyJump or ProxyCommand cannot be started")
                .with_source(error)
        })?;
        return Ok((Arc::new(Stream::Local(stream)), Some(running)));
    }
    let HostSettings { host, port, .. } = settings;
    let begun = Instant::now();
    let addresses = watch
        .call(Blocker::NameLookup, limit, || (host.as_str(), *port).to_socket_addrs())
        .map_err(|error| {
            Trouble::new(ErrorKind::Unavailable)
                .with_hint(format!("the host {host} is not found: check its name"))
                .with_source(error)
        })?;
    if watch.is_abandoned() {
        return Err(Trouble::cancelled());
    }
    let mut last = None;
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        // All addresses share the time of one answer.
        let share = limit.saturating_sub(begun.elapsed()) / left;
        left -= 1;
        match TcpStream::connect_timeout(&address, share.max(SHORTEST_CONNECT)) {
            Ok(stream) => {
                // Requests are small, and each waits for its answer.
                stream
                    .set_nodelay(true)
                    .map_err(|error| Trouble::new(ErrorKind::Other).with_source(error))?;
                return Ok((Arc::new(Stream::Tcp(stream)), None));
            }
            Err(error) => last = Some(error),
        }
    }
    let Some(error) = last else {
        return Err(Trouble::new(ErrorKind::Unavailable).with_hint(format!("the host {host} has no address")));
    };
    let is_timeout = error.kind() == std::io::ErrorKind::TimedOut;
    let kind = if is_timeout { ErrorKind::Timeout } else { ErrorKind::Unavailable };
    let hint = if error.kind() == std::io::ErrorKind::ConnectionRefused {
        format!("nothing listens at port {port} of {host}: check the port, and whether sshd runs")
    } else {
        format!("port {port} of {host} does not answer: check the network")
    };
    Err(Trouble::new(kind).with_hint(hint).with_source(error).broken())
}

/// Prefers the types of keys that are known for the host. With another type it would look like an unknown host.
pub(crate) fn prefer_known_types(wire: &SessionWire, known: &KnownHosts, settings: &HostSettings) {
    let mut types = Vec::new();
    for known in known.key_types(&settings.key_name, settings.port) {
        match known {
            "ssh-rsa" => types.extend(["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]),
            other => types.push(other),
        }
    }
    if types.is_empty() {
        return;
    }
    let supported = wire.session.supported_algs(MethodType::HostKey).unwrap_or_default();
    types.retain(|known| supported.contains(known));
    for other in supported {
        if !types.contains(&other) {
            types.push(other);
        }
    }
    // If libssh2 refuses the order, it keeps its own. The key is checked in any case.
    let _ = wire.session.method_pref(MethodType::HostKey, &types.join(","));
}

/// Refuses a host whose key is not known.
pub(crate) fn check_host(
    wire: &SessionWire,
    known: &KnownHosts,
    settings: &HostSettings,
) -> Result<(), Trouble> {
    let HostSettings { key_name, port, .. } = settings;
    let refuse = |hint: String| Err(Trouble::new(ErrorKind::Untrusted).with_hint(hint).hopeless());
    let Some(key) = wire.session.host_key().map(|(key, _)| key.to_vec()) else {
        return refuse("the host shows no key".to_owned());
    };
    let name = known_hosts::name(key_name, *port);
    let shown = format!("{} {}", known_hosts::key_type(&key), known_hosts::fingerprint(&key));
    let line = known_hosts::line(key_name, *port, &key);
    let file = settings.known_hosts.first();
    let file_name = file.map_or("known_hosts".to_owned(), |file| quoted_path(file));
    match known.check(key_name, *port, &key) {
        Verdict::Known => Ok(()),
        Verdict::Unknown if settings.accept_new => match file.map(|file| known_hosts::append(file, &line)) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Trouble::new(ErrorKind::Other)
                .with_hint(format!("the key of {name} cannot be added to {file_name}"))
                .with_source(error)
                .hopeless()),
            None => refuse(format!("the key of {name} is new, and no file of known hosts is configured")),
        },
        Verdict::Unknown => refuse(format!(
            "the host {name} is not known; its key is {shown}; if that is right, accept it with: echo {} >> {file_name}",
            quoted(&line)
        )),
        Verdict::Changed { file, line: number } => refuse(format!(
            "the key of the host {name} is not the one in {}:{number}: it shows {shown}; somebody may be listening; if \
             the host was set up anew, accept it with: ssh-keygen -R {} -f {} && echo {} >> {file_name}",
            file.display(),
            quoted(&name),
            quoted_path(&file),
            quoted(&line),
        )),
        Verdict::Revoked { file, line } => refuse(format!(
            "the key of the host {name}, {shown}, is revoked by {}:{line}: nobody may use it",
            file.display()
        )),
    }
}
