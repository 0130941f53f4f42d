//! The accounts of one shard: found by address-of-record, indexed by id. Compact, so that a
//! million cost some hundred bytes each: fixed records in one vector, names in an arena, rare
//! secrets in tables of their own.
//!
//! Accounts are added, never removed; ids stay valid for the life of the table.

use std::fmt;
use std::ops::{Index, IndexMut};

use arrayvec::ArrayVec;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::auth::account::{Account, Ha1s, NONE, Sha256Held};
use crate::auth::digest::{Digest, HashName};
use crate::auth::username::UsernameForm;
use crate::limits::{ACCOUNTS_MAX, AOR_BYTES_MAX, BATCH_MAX};

/// Keyed hash of a canonical address-of-record. Secret per process, so that nobody outside can
/// choose names that clash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AorKey(pub u64);

/// An account of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u32);

/// Why an account was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// There is one with this address-of-record already.
    Duplicate(AccountId),
    /// The name is empty or longer than [`AOR_BYTES_MAX`].
    Name,
    /// [`ACCOUNTS_MAX`] accounts are there, or 4 GiB of names.
    Full,
}

impl fmt::Display for InsertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InsertError::Duplicate(_) => write!(f, "the account exists already"),
            InsertError::Name => write!(f, "an account's name has 1 to {AOR_BYTES_MAX} bytes"),
            InsertError::Full => write!(f, "no room for another account on this shard"),
        }
    }
}

impl std::error::Error for InsertError {}

/// The table.
#[derive(Default)]
pub struct Accounts {
    by_key: HashTable<u32>,
    accounts: Vec<Account>,
    /// Read only when `by_key` grows, and so kept out of the records.
    keys: Vec<AorKey>,
    names: Names,
    md5_by_aor: Vec<[u8; 16]>,
    sha256: Vec<[u8; 32]>,
}

impl Accounts {
    /// An empty table.
    #[must_use]
    pub fn new() -> Accounts {
        Accounts::default()
    }

    /// Makes room for `additional` accounts at once. Growing later, at a million accounts, stops
    /// the shard for some ten milliseconds.
    pub fn reserve(&mut self, additional: usize) {
        let keys = &self.keys;
        self.by_key.reserve(additional, |&index| keys[index as usize].0);
        self.accounts.reserve(additional);
        self.keys.reserve(additional);
    }

    /// Adds an account. `aor` is canonical and `key` its hash.
    ///
    /// # Errors
    /// See [`InsertError`]; nothing has changed then.
    pub fn insert(
        &mut self,
        key: AorKey,
        aor: &[u8],
        ha1s: &Ha1s,
    ) -> Result<AccountId, InsertError> {
        let text_len = match u8::try_from(aor.len()) {
            Ok(len) if len > 0 && aor.len() <= AOR_BYTES_MAX => len,
            _ => return Err(InsertError::Name),
        };
        let (accounts, names, keys) = (&self.accounts, &mut self.names, &self.keys);
        let vacant = match self.by_key.entry(
            key.0,
            |&index| names.text(&accounts[index as usize]) == aor,
            |&index| keys[index as usize].0,
        ) {
            Entry::Occupied(known) => {
                return Err(InsertError::Duplicate(AccountId(*known.get())));
            }
            Entry::Vacant(vacant) => vacant,
        };
        if accounts.len() >= ACCOUNTS_MAX {
            return Err(InsertError::Full);
        }
        let text_at = names.push(aor).ok_or(InsertError::Full)?;
        let index = accounts.len() as u32;
        vacant.insert(index);
        let mut account = Account::new(text_at, text_len, ha1s.by_user.md5);
        if let Some(md5) = ha1s.by_aor.md5 {
            account.md5_by_aor = self.md5_by_aor.len() as u32;
            self.md5_by_aor.push(md5);
        }
        account.has_sha256 = match (ha1s.by_user.sha256, ha1s.by_aor.sha256) {
            (None, None) => Sha256Held::None,
            (Some(_), None) => Sha256Held::ByUser,
            (None, Some(_)) => Sha256Held::ByAor,
            (Some(_), Some(_)) => Sha256Held::Both,
        };
        account.sha256 = self.sha256.len() as u32;
        self.sha256.extend(ha1s.by_user.sha256);
        self.sha256.extend(ha1s.by_aor.sha256);
        self.accounts.push(account);
        self.keys.push(key);
        Ok(AccountId(index))
    }

    /// The account of a canonical address-of-record, `key` being its hash.
    #[must_use]
    pub fn find(&self, key: AorKey, aor: &[u8]) -> Option<AccountId> {
        self.by_key
            .find(key.0, |&index| self.names.text(&self.accounts[index as usize]) == aor)
            .map(|&index| AccountId(index))
    }

    /// Reads what [`Accounts::find`] will read for each of `keys`, and the records it will find, in
    /// three sweeps, so that the cache misses of a batch overlap instead of standing in line. The
    /// result only keeps the reads from being optimised away.
    #[must_use]
    pub fn warm(&self, keys: &[AorKey]) -> u64 {
        let mut sum = 0;
        for keys in keys.chunks(BATCH_MAX) {
            // What has the hash is nearly always what is sought.
            let likely = keys.iter().filter_map(|key| self.by_key.iter_hash(key.0).next());
            let likely: ArrayVec<u32, BATCH_MAX> = likely.copied().collect();
            let mut records: ArrayVec<&Account, BATCH_MAX> = ArrayVec::new();
            for &index in &likely {
                let account = &self.accounts[index as usize];
                sum ^= u64::from(account.text_at);
                records.push(account);
            }
            for account in records {
                sum ^= self.names.text(account).first().map_or(0, |&byte| u64::from(byte));
            }
        }
        sum
    }

    /// Accounts in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Every id, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = AccountId> + use<> {
        (0..self.accounts.len() as u32).map(AccountId)
    }

    /// The canonical address-of-record of an account, `user@domain`.
    #[must_use]
    pub fn aor(&self, id: AccountId) -> &[u8] {
        self.names.text(&self[id])
    }

    /// The HA1 of an account for a hash function and a form of username, if it has one. Where only
    /// the HA1 of `user` is known, it is tried for `user@domain` too: whoever made it may have
    /// hashed that name.
    #[must_use]
    pub fn ha1(&self, id: AccountId, name: HashName, form: UsernameForm) -> Option<Digest> {
        let account = &self[id];
        let by_aor = form == UsernameForm::Aor;
        match name {
            HashName::Md5 if by_aor && account.md5_by_aor != NONE => {
                Some(Digest::md5(&self.md5_by_aor[account.md5_by_aor as usize]))
            }
            HashName::Md5 => account.has_md5.then(|| Digest::md5(&account.ha1_md5)),
            HashName::Sha256 => {
                let first = account.sha256 as usize;
                let at = match account.has_sha256 {
                    Sha256Held::ByAor if by_aor => first,
                    Sha256Held::Both if by_aor => first + 1,
                    Sha256Held::ByUser | Sha256Held::Both => first,
                    Sha256Held::None | Sha256Held::ByAor => return None,
                };
                Some(Digest::sha256(&self.sha256[at]))
            }
        }
    }

    /// Bytes held for accounts, the free room of vectors and of the hash table included. For
    /// metrics and benchmarks.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.by_key.allocation_size()
            + self.accounts.capacity() * size_of::<Account>()
            + self.keys.capacity() * size_of::<AorKey>()
            + self.names.chunks.len() * CHUNK_BYTES
            + self.md5_by_aor.capacity() * 16
            + self.sha256.capacity() * 32
    }
}

impl Index<AccountId> for Accounts {
    type Output = Account;

    fn index(&self, id: AccountId) -> &Account {
        &self.accounts[id.0 as usize]
    }
}

impl IndexMut<AccountId> for Accounts {
    fn index_mut(&mut self, id: AccountId) -> &mut Account {
        &mut self.accounts[id.0 as usize]
    }
}

/// A name lies within one chunk, so that growing never moves or copies the names there are.
const CHUNK_BITS: u32 = 16;
const CHUNK_BYTES: usize = 1 << CHUNK_BITS;
const CHUNKS_MAX: usize = 1 << (32 - CHUNK_BITS);

/// Names one after the other. A place is the chunk's number and the offset in it.
#[derive(Default)]
struct Names {
    chunks: Vec<Vec<u8>>,
}

impl Names {
    fn push(&mut self, name: &[u8]) -> Option<u32> {
        if self.chunks.last().is_none_or(|chunk| CHUNK_BYTES - chunk.len() < name.len()) {
            if self.chunks.len() == CHUNKS_MAX {
                return None;
            }
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES));
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        let at = (number << CHUNK_BITS | chunk.len()) as u32;
        chunk.extend_from_slice(name);
        Some(at)
    }

    fn text(&self, account: &Account) -> &[u8] {
        let start = account.text_at as usize & (CHUNK_BYTES - 1);
        let chunk = &self.chunks[(account.text_at >> CHUNK_BITS) as usize];
        &chunk[start..start + usize::from(account.text_len)]
    }
}

const _: () = assert!(AOR_BYTES_MAX <= CHUNK_BYTES);
const _: () = assert!(ACCOUNTS_MAX * 2 < NONE as usize);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn ha1s(byte: u8) -> Ha1s {
        let mut ha1s = Ha1s::default();
        ha1s.by_user.md5 = Some([byte; 16]);
        ha1s
    }

    #[test]
    fn account_is_found_by_key_and_text_together() {
        let mut accounts = Accounts::new();
        let alice = accounts.insert(AorKey(7), b"alice@example.com", &ha1s(1)).unwrap();
        let bob = accounts.insert(AorKey(7), b"bob@example.com", &ha1s(2)).unwrap();
        assert_eq!(accounts.find(AorKey(7), b"alice@example.com"), Some(alice));
        assert_eq!(accounts.find(AorKey(7), b"bob@example.com"), Some(bob));
        assert_eq!(accounts.find(AorKey(7), b"carol@example.com"), None);
        assert_eq!(accounts.find(AorKey(7), b"Alice@example.com"), None);
        assert_eq!(accounts.aor(bob), b"bob@example.com");
        assert_eq!(accounts.ids().collect::<Vec<_>>(), [alice, bob]);
    }

    #[test]
    fn duplicates_and_impossible_names_are_refused_and_change_nothing() {
        let mut accounts = Accounts::new();
        let alice = accounts.insert(AorKey(7), b"alice@example.com", &ha1s(1)).unwrap();
        let again = accounts.insert(AorKey(7), b"alice@example.com", &ha1s(2));
        assert_eq!(again, Err(InsertError::Duplicate(alice)));
        assert_eq!(accounts.insert(AorKey(8), b"", &ha1s(1)), Err(InsertError::Name));
        let long = [b'a'; AOR_BYTES_MAX + 1];
        assert_eq!(accounts.insert(AorKey(9), &long, &ha1s(1)), Err(InsertError::Name));
        assert_eq!(accounts.len(), 1);
        let ha1 = accounts.ha1(alice, HashName::Md5, UsernameForm::User).unwrap();
        assert_eq!(ha1.as_bytes(), [1; 16]);
        assert!(accounts.insert(AorKey(9), &long[1..], &ha1s(1)).is_ok());
    }

    #[test]
    fn every_mix_of_secrets_is_given_back() {
        let mut accounts = Accounts::new();
        for mix in 0..16_u8 {
            let mut ha1s = Ha1s::default();
            ha1s.by_user.md5 = (mix & 1 != 0).then_some([mix; 16]);
            ha1s.by_aor.md5 = (mix & 2 != 0).then_some([mix + 32; 16]);
            ha1s.by_user.sha256 = (mix & 4 != 0).then_some([mix + 64; 32]);
            ha1s.by_aor.sha256 = (mix & 8 != 0).then_some([mix + 96; 32]);
            let aor = [b'a' + mix];
            let id = accounts.insert(AorKey(u64::from(mix)), &aor, &ha1s).unwrap();
            let held = |name, form| accounts.ha1(id, name, form).map(|ha1| ha1.as_bytes()[0]);
            let of = |bit: u8, offset: u8| (mix & bit != 0).then_some(mix + offset);
            assert_eq!(held(HashName::Md5, UsernameForm::User), of(1, 0));
            assert_eq!(held(HashName::Md5, UsernameForm::Aor), of(2, 32).or(of(1, 0)));
            assert_eq!(held(HashName::Sha256, UsernameForm::User), of(4, 64));
            assert_eq!(held(HashName::Sha256, UsernameForm::Aor), of(8, 96).or(of(4, 64)));
        }
    }

    #[test]
    fn names_of_many_chunks_are_kept_apart() {
        let mut accounts = Accounts::new();
        accounts.reserve(3000);
        let name = |number: u64| format!("{number:0>150}@example.com").into_bytes();
        for number in 0..3000 {
            accounts.insert(AorKey(number << 50 | number), &name(number), &ha1s(0)).unwrap();
        }
        assert!(accounts.names.chunks.len() > 5);
        for number in 0..3000 {
            let found = accounts.find(AorKey(number << 50 | number), &name(number));
            assert_eq!(found, Some(AccountId(number as u32)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Keys clash often here: they are the length of the name.
        #[test]
        fn agrees_with_a_hash_map(names in prop::collection::vec("[ab]{1,6}", 1..200)) {
            let mut accounts = Accounts::new();
            let mut model = HashMap::new();
            for name in &names {
                let key = AorKey(name.len() as u64);
                let found = accounts.find(key, name.as_bytes());
                prop_assert_eq!(found, model.get(name).copied());
                match accounts.insert(key, name.as_bytes(), &Ha1s::default()) {
                    Ok(id) => prop_assert_eq!(model.insert(name.clone(), id), None),
                    Err(error) => prop_assert_eq!(error, InsertError::Duplicate(model[name])),
                }
            }
            prop_assert_eq!(accounts.len(), model.len());
        }
    }
}
