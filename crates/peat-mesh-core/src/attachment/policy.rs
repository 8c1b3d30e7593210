//! What a node does about the attachments of a collection: said by an operator, as text.
//!
//! ```text
//! maps=eager,archive=pinned,*=lazy
//! ```

use std::collections::BTreeMap;
use std::fmt;

use crate::id::check_collection;
use crate::limits;

/// What a node does about the blobs that documents of a collection name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// They are fetched when somebody reads them.
    #[default]
    Lazy,
    /// They are fetched when the document arrives.
    Eager,
    /// They are fetched when the document arrives, and kept when no document names them any more.
    Pinned,
}

impl Policy {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lazy => "lazy",
            Self::Eager => "eager",
            Self::Pinned => "pinned",
        }
    }

    /// Whether blobs are fetched before anybody reads them.
    #[must_use]
    pub fn is_fetched(self) -> bool {
        self != Self::Lazy
    }
}

/// The policies of all collections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    named: BTreeMap<String, Policy>,
    others: Policy,
}

impl Policies {
    /// The policy of a collection.
    #[must_use]
    pub fn of(&self, collection: &str) -> Policy {
        self.named.get(collection).copied().unwrap_or(self.others)
    }

    /// Reads entries `<collection>=<policy>` with commas between them. `*` stands for all collections that are
    /// not named; without it they are lazy.
    ///
    /// # Errors
    /// All mistakes, each in a sentence.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let (mut policies, mut mistakes) = (Self::default(), Vec::new());
        let mut others = None;
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match Self::entry(entry) {
                Err(problem) => mistakes.push(format!("{entry:?}: {problem}")),
                Ok((collection, policy)) => {
                    let before = match collection {
                        "*" => others.replace(policy),
                        name => policies.named.insert(name.to_owned(), policy),
                    };
                    if before.is_some() {
                        mistakes.push(format!("{collection:?} is named twice"));
                    }
                }
            }
        }
        if policies.named.len() > limits::POLICY_COLLECTIONS_COUNT_MAX {
            mistakes
                .push(format!("there are more than {} collections", limits::POLICY_COLLECTIONS_COUNT_MAX));
        }
        policies.others = others.unwrap_or_default();
        if mistakes.is_empty() { Ok(policies) } else { Err(mistakes) }
    }

    fn entry(text: &str) -> Result<(&str, Policy), String> {
        let (collection, policy) =
            text.split_once('=').ok_or("there is no equals sign after the collection")?;
        let (collection, policy) = (collection.trim(), policy.trim());
        if collection != "*" {
            check_collection(collection).map_err(|problem| problem.to_string())?;
        }
        let known = [Policy::Lazy, Policy::Eager, Policy::Pinned];
        let found = known.into_iter().find(|known| known.as_str() == policy);
        let policy = found.ok_or_else(|| format!("{policy:?} is none of lazy, eager, pinned"))?;
        Ok((collection, policy))
    }
}

impl fmt::Display for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (collection, policy) in &self.named {
            write!(f, "{collection}={},", policy.as_str())?;
        }
        write!(f, "*={}", self.others.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_collection_has_the_policy_that_is_named_and_the_others_that_of_the_star() {
        let policies = Policies::parse(" maps=eager, archive = pinned ,*=lazy,").unwrap();
        let of = |collection| policies.of(collection);
        assert_eq!((of("maps"), of("archive"), of("x")), (Policy::Eager, Policy::Pinned, Policy::Lazy));
        let all = Policies::parse("*=eager,notes=lazy").unwrap();
        assert_eq!((all.of("maps"), all.of("notes")), (Policy::Eager, Policy::Lazy));
        assert_eq!(Policies::parse("").unwrap(), Policies::default());
        for policies in [policies, all, Policies::default()] {
            assert_eq!(Policies::parse(&policies.to_string()), Ok(policies));
        }
    }

    #[test]
    fn every_mistake_is_told() {
        let mistakes =
            Policies::parse("maps,a b=eager,x=now,x=lazy,y=lazy,y=eager,*=eager,*=eager").unwrap_err();
        let told =
            ["no equals sign", "' '", "\"now\" is none of", "\"y\" is named twice", "\"*\" is named twice"];
        assert_eq!(mistakes.len(), told.len(), "{mistakes:#?}");
        for (mistake, told) in mistakes.iter().zip(told) {
            assert!(mistake.contains(told), "{mistake}");
        }
        let many: Vec<String> =
            (0..=limits::POLICY_COLLECTIONS_COUNT_MAX).map(|n| format!("c{n}=lazy")).collect();
        assert!(Policies::parse(&many.join(",")).unwrap_err()[0].contains("more than"));
    }
}
