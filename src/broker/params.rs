//! Paths and queries: checked names and values, or an error that says what is wrong with which.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use peat_mesh_core::DocId;
use peat_mesh_core::id::check_collection;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::handle::{BlobHash, BlobHashError};

async fn path<T: DeserializeOwned + Send>(
    parts: &mut Parts,
    state: &(impl Send + Sync),
) -> Result<T, ApiError> {
    let path = Path::<T>::from_request_parts(parts, state).await;
    path.map(|Path(path)| path).map_err(|rejection| ApiError::Malformed(rejection.body_text()))
}

/// The document that a path names.
#[derive(Debug)]
pub(super) struct Address(pub(super) DocId);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let (collection, id): (String, String) = path(parts, state).await?;
        Ok(Self(DocId::new(&collection, &id)?))
    }
}

/// The collection that a path names.
#[derive(Debug)]
pub(super) struct Collection(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Collection {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let name: String = path(parts, state).await?;
        check_collection(&name)?;
        Ok(Self(name))
    }
}

/// The rest of a path, slashes included: a node's name or endpoint id.
#[derive(Debug)]
pub(super) struct NodeKey(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for NodeKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(path(parts, state).await?))
    }
}

/// The blob that a path names.
#[derive(Debug)]
pub(super) struct Named(pub(super) BlobHash);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text: String = path(parts, state).await?;
        Ok(Self(hash(&text)?))
    }
}

pub(super) fn hash(text: &str) -> Result<BlobHash, ApiError> {
    text.parse().map_err(|problem: BlobHashError| ApiError::Malformed(problem.to_string()))
}

/// The parameters of a query.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::from_request_parts(parts, state).await;
        let Query(pairs) = query.map_err(|rejection| ApiError::Malformed(rejection.body_text()))?;
        Ok(Self(pairs))
    }
}

impl Params {
    /// The values of these parameters. Any other is refused, since a misspelt filter that is passed over
    /// in silence shows more than was asked for.
    pub(super) fn only<const N: usize>(self, names: [&str; N]) -> Result<[Option<String>; N], ApiError> {
        let mut values = [const { None }; N];
        for (name, value) in self.0 {
            let Some(index) = names.iter().position(|known| *known == name) else {
                let known = names.join(", ");
                return Err(ApiError::Malformed(format!(
                    "there is no parameter {name:?} here; there are: {known}"
                )));
            };
            if values[index].replace(value).is_some() {
                return Err(ApiError::Malformed(format!("the parameter {name} is given twice")));
            }
        }
        Ok(values)
    }
}

/// A whole number.
pub(super) fn number(name: &str, text: &str, min: u64, max: u64) -> Result<u64, ApiError> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| {
        let range = if max == u64::MAX { format!("from {min} on") } else { format!("from {min} to {max}") };
        ApiError::Malformed(format!("{name} must be a whole number {range}, not {text:?}"))
    })
}

/// The filter and the start that event streams take: `?collection=&since=`.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) collection: Option<String>,
    pub(super) since: Option<u64>,
}

impl Watch {
    pub(super) fn new(params: Params) -> Result<Self, ApiError> {
        let [collection, since] = params.only(["collection", "since"])?;
        if let Some(collection) = &collection {
            check_collection(collection)?;
        }
        let since = since.map(|text| number("since", &text, 0, u64::MAX)).transpose()?;
        Ok(Self { collection, since })
    }
}
