//! aegis-policy
