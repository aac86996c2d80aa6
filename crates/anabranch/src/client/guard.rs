//! Which addresses may be connected to, for URLs that somebody else wrote.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Refuses addresses that are not of the public Internet: private and shared networks, loopback, link-local, multicast, documentation,
/// benchmarks and what else is reserved (RFC 6890 and the IANA registries that it made), and addresses where clouds answer with
/// credentials. An IPv4 address inside an IPv6 one is judged as itself.
///
/// It is asked for each address that a name has, at each dial, so a name that changes its address meanwhile gains nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressGuard {
    allowed: Arc<[Network]>,
}

/// The addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    prefix: u8,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Network {
    Network {
        first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        prefix,
    }
}

const fn v6(a: u16, b: u16, c: u16, d: u16, prefix: u8) -> Network {
    Network {
        first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
        prefix,
    }
}

/// The IANA IPv4 and IPv6 Special-Purpose Address Registries, multicast, and one address of a cloud among public ones. More specific
/// entries that the registries call reachable are refused with the networks around them: nobody is met there over HTTP.
const REFUSED: [Network; 30] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 31, 196, 0, 24),
    v4(192, 52, 193, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(192, 175, 48, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    // Azure's host: metadata and credentials.
    v4(168, 63, 129, 16, 32),
    // Unspecified, loopback, and all else in this block.
    v6(0, 0, 0, 0, 16),
    v6(0x64, 0xff9b, 1, 0, 48),
    v6(0x100, 0, 0, 0, 64),
    v6(0x2001, 0, 0, 0, 23),
    v6(0x2001, 0xdb8, 0, 0, 32),
    v6(0x3fff, 0, 0, 0, 20),
    v6(0x5f00, 0, 0, 0, 16),
    v6(0xfc00, 0, 0, 0, 7),
    v6(0xfe80, 0, 0, 0, 10),
    v6(0xfec0, 0, 0, 0, 10),
    v6(0xff00, 0, 0, 0, 8),
];

impl AddressGuard {
    /// Only addresses of the public Internet.
    pub fn public_only() -> Self {
        AddressGuard::default()
    }

    /// And those of this network: the addresses with the same first `prefix` bits.
    pub fn allow(self, network: IpAddr, prefix: u8) -> Self {
        let added = Network { first: network, prefix };
        AddressGuard {
            allowed: self.allowed.iter().copied().chain([added]).collect(),
        }
    }

    /// Whether this address must not be connected to.
    pub fn refuses(&self, address: IpAddr) -> bool {
        let address = within(address);
        let is_in = |network: &Network| network.has(address);
        REFUSED.iter().any(is_in) && !self.allowed.iter().any(is_in)
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let (first, address, size) = match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => (u128::from(first.to_bits()), u128::from(address.to_bits()), 32),
            (IpAddr::V6(first), IpAddr::V6(address)) => (first.to_bits(), address.to_bits(), 128),
            _ => return false,
        };
        let ignored = size - u32::from(self.prefix).min(size);
        first.checked_shr(ignored).unwrap_or(0) == address.checked_shr(ignored).unwrap_or(0)
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible (RFC 4291), translated (RFC 6052) or by way of 6to4 (RFC 3056).
fn within(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let (bits, segments) = (v6.to_bits(), v6.segments());
    let last = Ipv4Addr::from_bits(bits as u32);
    match segments {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => IpAddr::V4(last),
        // `::` and `::1` are what they are.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => IpAddr::V4(last),
        [0x2002, ..] => IpAddr::V4(Ipv4Addr::from_bits((bits >> 80) as u32)),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_refused() {
        let guard = AddressGuard::public_only();
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:a9fe:a9fe",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(guard.refuses(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_is_public_is_not() {
        let guard = AddressGuard::public_only();
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "168.63.129.17",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(!guard.refuses(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_in_every_spelling() {
        let guard = AddressGuard::public_only()
            .allow("127.0.0.0".parse().unwrap(), 8)
            .allow("fd00::".parse().unwrap(), 8);
        for address in ["127.0.0.1", "::ffff:127.1.2.3", "fd12::1"] {
            assert!(!guard.refuses(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "::1", "fc00::1"] {
            assert!(guard.refuses(address.parse().unwrap()), "{address}");
        }
        let all = AddressGuard::public_only().allow("0.0.0.0".parse().unwrap(), 0);
        assert!(!all.refuses("10.0.0.1".parse().unwrap()) && all.refuses("fc00::1".parse().unwrap()));
    }
}
