//! The accounts of one shard: found by address-of-record, indexed by id. Compact, so that a
//! million cost some hundred bytes each: fixed records in one vector, names in an arena, rare
//! secrets and policies in tables of their own.
//!
//! An id is its account's for as long as the account is there; afterwards another may have it.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use crate::auth::account::{Account, Ha1s, NONE, Sha256Held};
use crate::auth::digest::{Digest, HashName};
use crate::auth::names::Names;
use crate::auth::pool::Pool;
use crate::auth::username::UsernameForm;
use crate::config::AccountPolicy;
use crate::limits::{ACCOUNTS_MAX, AOR_BYTES_MAX, BATCH_MAX};
use crate::table::{Chunks, Index as Found, Sparse};
use arrayvec::ArrayVec;

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

/// Policies of a chunk, in bits.
const POLICY_BITS: u32 = 12;

/// The table.
#[derive(Default)]
pub struct Accounts {
    by_key: Found,
    accounts: Chunks<Account>,
    /// Read only when `by_key` grows, and so kept out of the records.
    keys: Chunks<AorKey>,
    names: Names,
    md5_by_aor: Pool<[u8; 16]>,
    sha256: Pool<[u8; 32]>,
    /// That of the user first.
    sha256_both: Pool<[[u8; 32]; 2]>,
    /// By account.
    policies: Sparse<Option<Arc<AccountPolicy>>, POLICY_BITS>,
    vacant: Chunks<u32>,
}

impl Accounts {
    /// An empty table.
    #[must_use]
    pub fn new() -> Accounts {
        Accounts::default()
    }

    /// Makes room for `additional` accounts at once. Growing later moves nothing at once; it only
    /// costs a little each time.
    pub fn reserve(&mut self, additional: usize) {
        self.by_key.reserve_total(self.len() + additional);
        self.accounts.reserve_total(self.accounts.len() + additional);
        self.keys.reserve_total(self.keys.len() + additional);
    }

    /// Adds an account without a policy. `aor` is canonical and `key` its hash.
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
        if let Some(known) = self.find(key, aor) {
            return Err(InsertError::Duplicate(known));
        }
        if self.accounts.len() >= ACCOUNTS_MAX && self.vacant.is_empty() {
            return Err(InsertError::Full);
        }
        let text_at = self.names.insert(aor).ok_or(InsertError::Full)?;
        let account = Account::new(text_at, text_len);
        let index = match self.vacant.pop() {
            Some(index) => {
                self.accounts[index as usize] = account;
                self.keys[index as usize] = key;
                index
            }
            None => {
                self.accounts.push(account);
                self.keys.push(key);
                self.accounts.len() as u32 - 1
            }
        };
        let keys = &self.keys;
        self.by_key.insert(key.0, index, |index| keys[index as usize].0);
        self.keep_secrets(AccountId(index), ha1s);
        Ok(AccountId(index))
    }

    /// Takes an account away; its id may come to name another.
    pub fn remove(&mut self, id: AccountId) {
        let account = &self[id];
        let (text_at, text_len) = (account.text_at, account.text_len);
        let key = self.keys[id.0 as usize];
        let was_there = self.by_key.remove(key.0, id.0);
        debug_assert!(was_there, "an account is found by its name");
        self.forget_secrets(id);
        self.set_policy(id, None);
        self.names.remove(text_at, text_len);
        self[id] = Account::vacant();
        self.vacant.push(id.0);
    }

    /// Whether an account has exactly these secrets.
    #[must_use]
    pub fn has_secrets(&self, id: AccountId, ha1s: &Ha1s) -> bool {
        self.secrets(id) == *ha1s
    }

    /// Gives an account other secrets. The nonces it has used stay used.
    pub fn set_secrets(&mut self, id: AccountId, ha1s: &Ha1s) {
        self.forget_secrets(id);
        self.keep_secrets(id, ha1s);
    }

    fn secrets(&self, id: AccountId) -> Ha1s {
        let account = &self[id];
        let mut ha1s = Ha1s::default();
        ha1s.by_user.md5 = account.has_md5.then_some(account.ha1_md5);
        ha1s.by_aor.md5 =
            (account.md5_by_aor != NONE).then(|| *self.md5_by_aor.at(account.md5_by_aor));
        (ha1s.by_user.sha256, ha1s.by_aor.sha256) = match account.has_sha256 {
            Sha256Held::None => (None, None),
            Sha256Held::ByUser => (Some(*self.sha256.at(account.sha256)), None),
            Sha256Held::ByAor => (None, Some(*self.sha256.at(account.sha256))),
            Sha256Held::Both => {
                let [by_user, by_aor] = *self.sha256_both.at(account.sha256);
                (Some(by_user), Some(by_aor))
            }
        };
        ha1s
    }

    fn keep_secrets(&mut self, id: AccountId, ha1s: &Ha1s) {
        let Accounts { accounts, md5_by_aor, sha256, sha256_both, .. } = self;
        let account = &mut accounts[id.0 as usize];
        account.has_md5 = ha1s.by_user.md5.is_some();
        account.ha1_md5 = ha1s.by_user.md5.unwrap_or_default();
        account.md5_by_aor = ha1s.by_aor.md5.map_or(NONE, |md5| md5_by_aor.insert(md5));
        (account.has_sha256, account.sha256) = match (ha1s.by_user.sha256, ha1s.by_aor.sha256) {
            (None, None) => (Sha256Held::None, NONE),
            (Some(hash), None) => (Sha256Held::ByUser, sha256.insert(hash)),
            (None, Some(hash)) => (Sha256Held::ByAor, sha256.insert(hash)),
            (Some(by_user), Some(by_aor)) => {
                (Sha256Held::Both, sha256_both.insert([by_user, by_aor]))
            }
        };
    }

    fn forget_secrets(&mut self, id: AccountId) {
        let Accounts { accounts, md5_by_aor, sha256, sha256_both, .. } = self;
        let account = &accounts[id.0 as usize];
        if account.md5_by_aor != NONE {
            md5_by_aor.remove(account.md5_by_aor, [0; 16]);
        }
        match account.has_sha256 {
            Sha256Held::None => {}
            Sha256Held::ByUser | Sha256Held::ByAor => sha256.remove(account.sha256, [0; 32]),
            Sha256Held::Both => sha256_both.remove(account.sha256, [[0; 32]; 2]),
        }
    }

    /// What holds for this account alone, if anything was said of it. Costs nothing for those of
    /// whom nothing was: their record says so.
    #[inline]
    #[must_use]
    pub fn policy(&self, id: AccountId) -> Option<&Arc<AccountPolicy>> {
        if !self[id].has_policy() {
            return None;
        }
        self.policies.at(id.0 as usize).as_ref()
    }

    /// Says what holds for this account alone; `None` takes back what was said.
    pub fn set_policy(&mut self, id: AccountId, policy: Option<Arc<AccountPolicy>>) {
        let account = &mut self.accounts[id.0 as usize];
        account.set_policy(policy.is_some());
        account.set_bindings_max(policy.as_ref().and_then(|policy| policy.bindings_max));
        let at = id.0 as usize;
        if policy.is_some() || self.policies.at(at).is_some() {
            *self.policies.put(at) = policy;
        }
    }

    /// The account of a canonical address-of-record, `key` being its hash.
    #[must_use]
    pub fn find(&self, key: AorKey, aor: &[u8]) -> Option<AccountId> {
        self.by_key
            .find(key.0, |index| name_of(&self.names, &self.accounts[index as usize]) == aor)
            .map(AccountId)
    }

    /// The account with the hash of a name, where the name itself is not at hand. Another account
    /// with the same 64 bits is as good as impossible, and would be no worse than a wrong name in a
    /// list.
    #[must_use]
    pub fn find_by_key(&self, key: AorKey) -> Option<AccountId> {
        let is_it = |index: u32| self.keys[index as usize] == key;
        self.by_key.find(key.0, is_it).map(AccountId)
    }

    /// Reads what [`Accounts::find`] will read for each of `keys`, and the records it will find, in
    /// three sweeps, so that the cache misses of a batch overlap instead of standing in line. The
    /// result only keeps the reads from being optimised away.
    #[must_use]
    pub fn warm(&self, keys: &[AorKey]) -> u64 {
        let mut sum = 0;
        for keys in keys.chunks(BATCH_MAX) {
            // What has the hash is nearly always what is sought.
            let likely = keys.iter().filter_map(|key| self.by_key.likely(key.0));
            let likely: ArrayVec<u32, BATCH_MAX> = likely.collect();
            let mut records: ArrayVec<&Account, BATCH_MAX> = ArrayVec::new();
            for &index in &likely {
                let account = &self.accounts[index as usize];
                sum ^= u64::from(account.text_at);
                records.push(account);
            }
            for account in records {
                sum ^= name_of(&self.names, account).first().map_or(0, |&byte| u64::from(byte));
            }
        }
        sum
    }

    /// Accounts in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// One more than the largest id there has been.
    #[must_use]
    pub fn ids_end(&self) -> u32 {
        self.accounts.len() as u32
    }

    /// Whether an id names an account.
    #[must_use]
    pub fn contains(&self, id: AccountId) -> bool {
        self.accounts.get(id.0 as usize).is_some_and(|account| !account.is_vacant())
    }

    /// Every id that names an account, in order.
    pub fn ids(&self) -> impl Iterator<Item = AccountId> + '_ {
        (0..self.ids_end()).map(AccountId).filter(|&id| self.contains(id))
    }

    /// The canonical address-of-record of an account, `user@domain`.
    #[must_use]
    pub fn aor(&self, id: AccountId) -> &[u8] {
        name_of(&self.names, &self[id])
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
                Some(Digest::md5(self.md5_by_aor.at(account.md5_by_aor)))
            }
            HashName::Md5 => account.has_md5.then(|| Digest::md5(&account.ha1_md5)),
            HashName::Sha256 => match account.has_sha256 {
                Sha256Held::None => None,
                Sha256Held::ByAor if !by_aor => None,
                Sha256Held::ByUser | Sha256Held::ByAor => {
                    Some(Digest::sha256(self.sha256.at(account.sha256)))
                }
                Sha256Held::Both => {
                    let both = self.sha256_both.at(account.sha256);
                    Some(Digest::sha256(&both[usize::from(by_aor)]))
                }
            },
        }
    }

    /// Bytes held for accounts, the free room of vectors and of the hash table included. For
    /// metrics and benchmarks.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.by_key.bytes_held()
            + self.accounts.bytes_held()
            + self.keys.bytes_held()
            + self.names.bytes_held()
            + self.md5_by_aor.bytes_held()
            + self.sha256.bytes_held()
            + self.sha256_both.bytes_held()
            + self.policies.bytes_held()
            + self.vacant.bytes_held()
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

fn name_of<'a>(names: &'a Names, account: &Account) -> &'a [u8] {
    names.text(account.text_at, account.text_len)
}

const _: () = assert!(ACCOUNTS_MAX < NONE as usize);

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
            assert!(accounts.has_secrets(id, &ha1s));
            accounts.set_secrets(id, &Ha1s::default());
            assert!(accounts.has_secrets(id, &Ha1s::default()));
            accounts.set_secrets(id, &ha1s);
            assert!(accounts.has_secrets(id, &ha1s));
        }
    }

    #[test]
    fn a_removed_account_is_gone_with_all_it_had_and_its_id_serves_another() {
        let mut accounts = Accounts::new();
        let both = Ha1s::from_password("a@b", "p", true);
        let one = accounts.insert(AorKey(1), b"one@example.com", &both).unwrap();
        let two = accounts.insert(AorKey(2), b"two@example.com", &both).unwrap();
        let policy = AccountPolicy { bindings_max: Some(3), ..AccountPolicy::default() };
        accounts.set_policy(one, Some(Arc::new(policy)));
        accounts.remove(one);
        assert_eq!(accounts.find(AorKey(1), b"one@example.com"), None);
        assert_eq!((accounts.len(), accounts.ids().collect::<Vec<_>>()), (1, vec![two]));
        let three = accounts.insert(AorKey(3), b"red@example.com", &ha1s(3)).unwrap();
        assert_eq!((three, accounts.aor(three)), (one, &b"red@example.com"[..]));
        assert!(accounts.policy(three).is_none() && accounts[three].bindings_max().is_none());
        assert!(accounts.ha1(three, HashName::Sha256, UsernameForm::Aor).is_none());
        assert!(accounts.has_secrets(three, &ha1s(3)) && accounts.has_secrets(two, &both));
    }

    #[test]
    fn a_policy_is_found_by_its_account_and_brings_its_limit_of_bindings() {
        let mut accounts = Accounts::new();
        let ids: Vec<AccountId> = (0..4)
            .map(|n| accounts.insert(AorKey(n), &[b'a' + n as u8], &ha1s(0)).unwrap())
            .collect();
        let policy = AccountPolicy { bindings_max: Some(7), ..AccountPolicy::default() };
        accounts.set_policy(ids[2], Some(Arc::new(policy.clone())));
        assert_eq!(accounts.policy(ids[2]).map(|held| (**held).clone()), Some(policy));
        assert_eq!(accounts[ids[2]].bindings_max(), Some(7));
        assert!([0, 1, 3].iter().all(|&n| accounts.policy(ids[n]).is_none()));
        accounts.set_policy(ids[2], None);
        assert_eq!((accounts.policy(ids[2]), accounts[ids[2]].bindings_max()), (None, None));
    }

    #[test]
    fn names_of_many_chunks_are_kept_apart() {
        let mut accounts = Accounts::new();
        accounts.reserve(3000);
        let name = |number: u64| format!("{number:0>150}@example.com").into_bytes();
        for number in 0..3000 {
            accounts.insert(AorKey(number << 50 | number), &name(number), &ha1s(0)).unwrap();
        }
        assert!(accounts.names.chunks() > 5);
        for number in 0..3000 {
            let found = accounts.find(AorKey(number << 50 | number), &name(number));
            assert_eq!(found, Some(AccountId(number as u32)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Keys clash often here: they are the length of the name.
        #[test]
        fn agrees_with_a_hash_map(
            steps in prop::collection::vec(("[ab]{1,6}", any::<bool>()), 1..200)
        ) {
            let mut accounts = Accounts::new();
            let mut model = HashMap::new();
            for (name, removed) in &steps {
                let key = AorKey(name.len() as u64);
                let found = accounts.find(key, name.as_bytes());
                prop_assert_eq!(found, model.get(name).copied());
                if let Some(id) = found.filter(|_| *removed) {
                    prop_assert_eq!(accounts.aor(id), name.as_bytes());
                    accounts.remove(id);
                    model.remove(name);
                    continue;
                }
                match accounts.insert(key, name.as_bytes(), &Ha1s::default()) {
                    Ok(id) => prop_assert_eq!(model.insert(name.clone(), id), None),
                    Err(error) => prop_assert_eq!(error, InsertError::Duplicate(model[name])),
                }
            }
            prop_assert_eq!(accounts.len(), model.len());
            prop_assert_eq!(accounts.ids().count(), model.len());
        }
    }
}
