//! aegis-common
