//! Which part of 127.0.0.0/8 plays which role. Sources that stand for different people are in /24s
//! of their own, since a server may limit neighbours together.

use std::net::Ipv4Addr;

/// Most sources of one role that are in /24s of their own.
pub(super) const ROLE_MAX: u32 = 4096;
/// Addresses there are for sources that fail.
pub(super) const FAILING_MAX: u32 = 1 << 22;
/// Addresses there are for everybody.
pub(super) const ANY_MAX: u32 = 1 << 24;
/// An odd number that spreads neighbours all over a power of two.
const SPREAD: u32 = 0x009e_3779;

const fn role(second: u8, number: u32) -> Ipv4Addr {
    let number = number % ROLE_MAX;
    Ipv4Addr::new(127, second + (number >> 8) as u8, number as u8, 1)
}

/// A line of honest phones: 127.16.0.1 to 127.31.255.1.
pub(super) const fn honest(number: u32) -> Ipv4Addr {
    role(16, number)
}

/// Somebody who guesses: from 127.32.0.1 on.
pub(super) const fn guesser(number: u32) -> Ipv4Addr {
    role(32, number)
}

/// The owner of an account that is guessed at: from 127.48.0.1 on.
pub(super) const fn owner(number: u32) -> Ipv4Addr {
    role(48, number)
}

/// Somebody who scans: from 127.128.0.1 on.
pub(super) const fn scanner(number: u32) -> Ipv4Addr {
    role(128, number)
}

/// The one that is blocked.
pub(super) const BLOCKED: Ipv4Addr = Ipv4Addr::new(127, 160, 0, 1);

/// Somebody who fails: all of 127.64.0.0/10, neighbours in number far apart.
pub(super) const fn failing(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x7f40_0000 | (number.wrapping_mul(SPREAD) & (FAILING_MAX - 1)))
}

/// Anybody, those with a role among them, as a spoofer would: all of 127.0.0.0/8 but its first and
/// its last address, which nothing can be sent from.
pub(super) const fn any(number: u32) -> Ipv4Addr {
    let host = match number.wrapping_mul(SPREAD) & (ANY_MAX - 1) {
        0 => 1,
        0x00ff_ffff => 0x00ff_fffe,
        host => host,
    };
    Ipv4Addr::from_bits(0x7f00_0000 | host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn everybody_has_an_address_of_his_own_in_a_network_of_his_own() {
        let roles = [honest, guesser, owner, scanner];
        let all = roles.iter().flat_map(|role| (0..ROLE_MAX).map(role)).chain([BLOCKED]);
        let networks: HashSet<[u8; 3]> = all
            .map(|one| {
                let [a, b, c, _] = one.octets();
                [a, b, c]
            })
            .collect();
        assert_eq!(networks.len(), 4 * ROLE_MAX as usize + 1);
        let failing: HashSet<Ipv4Addr> = (0..100_000).map(failing).collect();
        assert_eq!(failing.len(), 100_000);
        assert!(failing.iter().all(|one| one.octets()[1] & 0xc0 == 64));
    }

    #[test]
    fn sources_do_not_come_again_before_all_were_there() {
        let mut seen = vec![0u64; ANY_MAX as usize / 64];
        let mut again = 0;
        for number in 0..ANY_MAX {
            let address = any(number);
            assert!(address.is_loopback());
            let host = address.to_bits() & (ANY_MAX - 1);
            assert!(host != 0 && host != ANY_MAX - 1);
            let (place, bit) = (host as usize / 64, 1 << (host % 64));
            again += u32::from(seen[place] & bit != 0);
            seen[place] |= bit;
        }
        assert_eq!(again, 2, "those that stand in for the first and the last");
    }
}
