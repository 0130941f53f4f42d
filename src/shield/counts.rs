//! What the kernel's share of the shield counts, and the state it is in, for metrics and for
//! operators; read from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Kernel;

/// What drops for us now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Means {
    /// Nothing; the guard does.
    None,
    /// A filter in front of each UDP socket.
    Socket,
    /// nftables.
    Nftables,
}

impl Means {
    const ALL: [Means; 3] = [Means::None, Means::Socket, Means::Nftables];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["none", "socket", "nftables"][self as usize]
    }
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident: $grows:literal,)+) => {
        /// Numbers.
        #[derive(Debug, Default)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
        }

        impl Counts {
            /// Name, meaning, number, and whether it only grows, of each.
            pub fn described(
                &self,
            ) -> impl Iterator<Item = (&'static str, &'static str, u64, bool)> {
                [$((
                    stringify!($name),
                    concat!($($doc),+),
                    self.$name.load(Ordering::Relaxed),
                    $grows,
                ),)+].into_iter()
            }
        }
    };
}

counts! {
    /// What drops blocked sources before a reactor sees them: 0 nothing, 1 socket filters, 2
    /// nftables.
    means: false,
    /// What shall drop them: 0 auto, 1 nftables, 2 socket filters, 3 nothing.
    setting: false,
    /// Networks the kernel shall drop.
    wanted: false,
    /// Networks it does drop.
    held: false,
    /// Networks it would drop if there were room for them.
    left_out: false,
    /// Times the guard's list could not be read from a shard.
    unread: true,
    /// Connections made to aorta-nft.
    helper_connections: true,
    /// Connections to aorta-nft that were lost, and orders it could not carry out.
    helper_failures: true,
    /// Changes aorta-nft has carried out.
    helper_changes: true,
    /// Programs put in front of the UDP sockets.
    filter_programs: true,
    /// Programs the kernel refused for their length or otherwise.
    filter_refused: true,
    /// Instructions of the program in place.
    filter_instructions: false,
    /// Datagrams dropped by it, as near as the kernel tells.
    filter_dropped: true,
}

impl Counts {
    pub(super) fn set(place: &AtomicU64, value: usize) {
        place.store(value as u64, Ordering::Relaxed);
    }

    pub(super) fn add(place: &AtomicU64, more: u64) {
        place.fetch_add(more, Ordering::Relaxed);
    }

    /// What drops now.
    #[must_use]
    pub fn means_now(&self) -> Means {
        let number = self.means.load(Ordering::Relaxed) as usize;
        Means::ALL.get(number).copied().unwrap_or(Means::None)
    }

    /// What shall drop.
    #[must_use]
    pub fn setting_now(&self) -> Kernel {
        let number = self.setting.load(Ordering::Relaxed) as usize;
        Kernel::ALL.get(number).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_set() {
        let counts = Counts::default();
        assert_eq!((counts.means_now(), counts.setting_now()), (Means::None, Kernel::Auto));
        Counts::set(&counts.means, Means::Nftables as usize);
        Counts::set(&counts.setting, Kernel::Off as usize);
        Counts::add(&counts.unread, 2);
        assert_eq!(counts.means_now().name(), "nftables");
        assert_eq!(counts.setting_now(), Kernel::Off);
        let unread = counts.described().find(|(name, ..)| *name == "unread").unwrap();
        assert_eq!((unread.2, unread.3), (2, true));
        let order: Vec<_> = Kernel::ALL.iter().map(|kernel| kernel.word()).collect();
        assert_eq!(order, ["auto", "nftables", "socket", "off"], "as the numbers say");
    }
}
