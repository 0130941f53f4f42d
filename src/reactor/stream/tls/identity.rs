//! Who a client is by its certificate (RFC 5922 7): the SIP URIs and domains of its subject
//! alternative names, and where there are none its common name. That the certificate is good, the
//! handshake has proved.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::limits::{AOR_BYTES_MAX, PEER_BYTES_MAX};
use crate::registrar::aor::Aor;
use crate::shard::Peer;
use crate::sip::uri::{Scheme, Uri};

/// The identities in a certificate, as [`Peer`] reads them. Those beyond its limit are left out.
pub(super) fn identities(certificate: &[u8]) -> Box<[u8]> {
    let mut found = Vec::new();
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Box::default();
    };
    let mut named = false;
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        for name in &names.value.general_names {
            match name {
                GeneralName::URI(uri) => {
                    named = true;
                    add_uri(&mut found, uri.as_bytes());
                }
                GeneralName::DNSName(domain) => {
                    named = true;
                    add_domain(&mut found, domain);
                }
                _ => {}
            }
        }
    }
    // RFC 5922 7.1: the common name only where the subject has no such name.
    if !named {
        for name in certificate.subject().iter_common_name() {
            if let Ok(domain) = name.as_str() {
                add_domain(&mut found, domain);
            }
        }
    }
    found.into_boxed_slice()
}

/// `sip:user@domain` is an account, `sip:domain` a domain.
fn add_uri(found: &mut Vec<u8>, text: &[u8]) {
    let Ok(uri) = Uri::parse(text) else { return };
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
        return;
    }
    if uri.user.is_none() {
        if let Ok(host) = std::str::from_utf8(uri.host) {
            add_domain(found, host);
        }
        return;
    }
    let mut buffer = [0; AOR_BYTES_MAX];
    if let Ok(aor) = Aor::from_uri(&uri, &mut buffer) {
        add(found, aor.text());
    }
}

/// A wildcard is no SIP identity (RFC 5922 7.2).
fn add_domain(found: &mut Vec<u8>, domain: &str) {
    let host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    if !domain.is_empty() && domain.len() <= AOR_BYTES_MAX && domain.bytes().all(host) {
        add(found, domain.to_ascii_lowercase().as_bytes());
    }
}

fn add(found: &mut Vec<u8>, identity: &[u8]) {
    if Peer::new(found).has(identity) || found.len() + identity.len() + 1 > PEER_BYTES_MAX {
        return;
    }
    if !found.is_empty() {
        found.push(Peer::SEPARATOR);
    }
    found.extend_from_slice(identity);
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn identities_of(common_name: &str, names: &[SanType]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names.to_vec();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        String::from_utf8(identities(certificate.der()).into_vec()).unwrap()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(Ia5String::try_from(text).unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(Ia5String::try_from(text).unwrap())
    }

    #[test]
    fn accounts_and_domains_are_taken_from_the_alternative_names_rfc_5922_7_1() {
        let names = [
            uri("sip:alice@Example.COM"),
            uri("sip:example.com"),
            uri("https://a.test"),
            dns("B.test"),
        ];
        assert_eq!(identities_of("ignored.test", &names), "alice@example.com\nexample.com\nb.test");
    }

    #[test]
    fn the_common_name_stands_in_where_there_is_no_other() {
        assert_eq!(identities_of("Gateway.Example.com", &[]), "gateway.example.com");
        assert_eq!(identities_of("Alice Example", &[]), "");
        assert_eq!(identities_of("a.test", &[uri("urn:nothing:of:ours")]), "");
    }

    #[test]
    fn wildcards_and_nonsense_name_nobody() {
        assert_eq!(identities_of("x y", &[dns("*.example.com")]), "");
        assert_eq!(&*identities(b"no certificate"), b"");
    }

    #[test]
    fn no_more_is_kept_than_a_message_may_carry() {
        let names: Vec<_> = (0..40).map(|n| dns(&format!("host-{n}.branch.example.com"))).collect();
        let kept = identities_of("x", &names);
        assert!(kept.len() <= PEER_BYTES_MAX && kept.len() > PEER_BYTES_MAX / 2);
        assert!(kept.ends_with(".example.com"));
    }
}
