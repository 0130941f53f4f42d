//! Settings that are one word of a closed list: the enum, its spelling and its reading, from one
//! table each.

/// Defines an enum of words. The first spelling of a variant is the one it prints as; any of them
/// is read, in any case.
macro_rules! words {
    (
        $(#[$about:meta])*
        pub enum $name:ident: $expected:literal {
            $(
                $(#[$variant_about:meta])*
                $variant:ident = $word:literal $(| $other:literal)*
            ),+ $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$variant_about])* $variant ),+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [$name] = &[$( $name::$variant ),+];
            /// What is read, for refusals and tables.
            pub const EXPECTED: &'static str = $expected;

            /// The value a word stands for, in any case; `None` for any other text.
            #[must_use]
            pub fn from_word(text: &str) -> Option<$name> {
                $( if [$word $(, $other)*].iter().any(|word| text.eq_ignore_ascii_case(word)) {
                    return Some($name::$variant);
                } )+
                None
            }

            /// Its own word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( $name::$variant => $word ),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(super) use words;

#[cfg(test)]
mod tests {
    words! {
        /// Answers.
        pub enum Answer: "yes or no" {
            /// Yes.
            #[default]
            Yes = "yes" | "y",
            /// No.
            No = "no",
        }
    }

    #[test]
    fn every_word_is_read_in_any_case_and_printed_as_the_first() {
        assert_eq!(Answer::from_word("Y"), Some(Answer::Yes));
        assert_eq!(Answer::from_word("NO"), Some(Answer::No));
        assert_eq!(Answer::from_word("maybe"), None);
        assert_eq!(Answer::from_word(""), None);
        assert_eq!(Answer::default().to_string(), "yes");
        assert_eq!((Answer::ALL.len(), Answer::EXPECTED), (2, "yes or no"));
    }
}
