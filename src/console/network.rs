//! Networks as people write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Addresses with the same first bits, such as `192.168.1.0/24`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

/// Why a text is no [`Network`]: what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    #[error("no IP address")]
    Address,
    #[error("no number of bits from 0 to {0} behind the slash")]
    Bits(u32),
    #[error("an address within the network {0}")]
    Within(Network),
    #[error("{0}, written as an IPv6 address")]
    Mapped(IpAddr),
}

impl Network {
    /// An IPv4 address that comes as an IPv6 one (`::ffff:10.0.0.5`) is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == masked(self.first, self.bits)
    }
}

/// The first bits of an address, at the top of the number.
fn masked(address: IpAddr, bits: u32) -> u128 {
    let all = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    all & u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Network, NotANetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().map_err(|_| NotANetwork::Address)?;
        if first.to_canonical() != first {
            return Err(NotANetwork::Mapped(first.to_canonical()));
        }
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(digits) => {
                let number = if digits.bytes().all(|c| c.is_ascii_digit()) { digits.parse().ok() } else { None };
                number.filter(|bits| *bits <= most).ok_or(NotANetwork::Bits(most))?
            }
        };
        if masked(first, bits) != masked(first, most) {
            let first = match (first, masked(first, bits)) {
                (IpAddr::V4(_), bits) => IpAddr::V4(((bits >> 96) as u32).into()),
                (IpAddr::V6(_), bits) => IpAddr::V6(bits.into()),
            };
            return Err(NotANetwork::Within(Network { first, bits }));
        }
        Ok(Network { first, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.first.is_ipv4() { 32 } else { 128 };
        if self.bits == most { write!(f, "{}", self.first) } else { write!(f, "{}/{}", self.first, self.bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_begins_like_them() {
        for (network, address, contained) in [
            ("192.168.1.0/24", "192.168.1.255", true),
            ("192.168.1.0/24", "192.168.2.1", false),
            ("192.168.1.0/24", "::ffff:192.168.1.7", true),
            ("10.0.0.5", "10.0.0.5", true),
            ("10.0.0.5", "10.0.0.4", false),
            ("10.0.0.5", "::10.0.0.5", false),
            ("10.0.0.4/31", "10.0.0.5", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "::ffff:203.0.113.9", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("fe80::/10", "fe80::1", true),
            ("2001:db8::1", "2001:db8::1", true),
            ("2001:db8::1", "2001:db8::2", false),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), contained, "{address} in {network}");
            assert_eq!(parsed.to_string(), network);
        }
    }

    #[test]
    fn what_is_no_network() {
        for (text, expected) in [
            ("", "no IP address"),
            ("lab.example", "no IP address"),
            ("10.0.0", "no IP address"),
            ("10.0.0.256", "no IP address"),
            ("10.0.0.1:9464", "no IP address"),
            (" 10.0.0.1", "no IP address"),
            ("fe80::1%eth0", "no IP address"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/-1", "from 0 to 32"),
            ("10.0.0.0/+8", "from 0 to 32"),
            ("10.0.0.0/8/8", "from 0 to 32"),
            ("10.0.0.0/99999999999", "from 0 to 32"),
            ("10.0.0.0/255.0.0.0", "from 0 to 32"),
            ("2001:db8::/129", "from 0 to 128"),
            ("192.168.1.7/24", "within the network 192.168.1.0/24"),
            ("2001:db8::1/64", "within the network 2001:db8::/64"),
            ("::ffff:10.0.0.5", "10.0.0.5, written as"),
        ] {
            let found = text.parse::<Network>().expect_err(text).to_string();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
