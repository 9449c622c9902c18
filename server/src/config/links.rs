//! The variables that Kubernetes, and Docker before it, gives each container for each service of its
//! namespace: those of a service named `sidecore`, or `sidecore-…`, have this server's prefix.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>

use std::net::IpAddr;

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Whether a variable is such a one, by its name and its value: no key of this server takes an
/// address with a protocol before it, and none has such a name.
pub(super) fn is_link(name: &str, value: &str) -> bool {
    if name.ends_with("_PORT") && is_url(value) {
        return true;
    }
    if let Some((_, rest)) = name.split_once("_SERVICE_") {
        let is_port = rest == "PORT" || rest.starts_with("PORT_");
        return (rest == "HOST" && is_address(value)) || (is_port && is_port_number(value));
    }
    // SIDECORE_PORT_8080_TCP, and the same with _PROTO, _PORT and _ADDR.
    name.match_indices("_PORT_").any(|(at, found)| {
        let mut parts = name[at + found.len()..].split('_');
        let (port, protocol) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        is_port_number(port)
            && is_protocol(protocol)
            && match (parts.next(), parts.next()) {
                (None, None) => is_url(value),
                (Some("PROTO"), None) => is_protocol(value),
                (Some("PORT"), None) => is_port_number(value),
                (Some("ADDR"), None) => is_address(value),
                _ => false,
            }
    })
}

/// What the operator is told of those that were left alone.
pub(super) fn note(names: &[String]) -> Option<String> {
    let first = names.first()?;
    let more = match names.len() - 1 {
        0 => String::new(),
        1 => " and one variable more are".to_owned(),
        more => format!(" and {more} variables more are"),
    };
    let are = if more.is_empty() { " is" } else { "" };
    Some(format!(
        "warning: {first}{more}{are} no setting but what Kubernetes says of a service of that \
         name: left alone; `enableServiceLinks: false` in the pod's spec keeps such variables away"
    ))
}

fn is_url(value: &str) -> bool {
    let Some((protocol, address)) = value.split_once("://") else { return false };
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    is_protocol(protocol) && is_address(host) && is_port_number(port)
}

fn is_protocol(text: &str) -> bool {
    PROTOCOLS.iter().any(|protocol| protocol.eq_ignore_ascii_case(text))
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn is_port_number(text: &str) -> bool {
    text.parse::<u16>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit())
}
