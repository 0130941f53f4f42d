//! The known name that resembles a mistyped one most.

/// Names longer than this are no typing error, and are not compared.
const NAME_BYTES_MAX: usize = 80;

/// The candidate nearest to `name` in any case, if it is near enough to be meant: at most one
/// edit in four characters and three in all, or the same word with its section left out.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let edits_max = (name.len() / 4).clamp(1, 3);
    let by_edits = candidates
        .clone()
        .map(|candidate| (distance(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate);
    by_edits.or_else(|| {
        let bare = name.rsplit('.').next().unwrap_or(&name);
        candidates.clone().find(|candidate| {
            candidate.rsplit_once('.').is_some_and(|(_, last)| distance(bare, last) <= 1)
        })
    })
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one name into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut edits = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                edits = edits.min(before_last[j - 1] + 1);
            }
            row.push(edits);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["registrar.replace", "registrar.expires_max", "SS_ENDPOINT_EXPIRE"];

    fn near(name: &str) -> Option<&'static str> {
        nearest(name, NAMES.into_iter())
    }

    #[test]
    fn distance_counts_single_edits_and_swaps() {
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("abc", "ab"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_typing_error_finds_the_name() {
        assert_eq!(near("registar.replace"), Some("registrar.replace"));
        assert_eq!(near("ss_endpoint_expires"), Some("SS_ENDPOINT_EXPIRE"));
    }

    #[test]
    fn a_name_without_its_section_or_in_the_wrong_one_finds_the_name() {
        assert_eq!(near("expires_max"), Some("registrar.expires_max"));
        assert_eq!(near("auth.replace"), Some("registrar.replace"));
    }

    #[test]
    fn another_parameter_is_not_taken_for_a_typing_error() {
        assert_eq!(near("SS_ENDPOINT_NAT_EXPIRE"), None);
        assert_eq!(near("colour"), None);
        assert_eq!(near(&"registrar.replace".repeat(8)), None);
    }
}
