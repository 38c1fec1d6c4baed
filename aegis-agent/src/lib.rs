//! aegis-agent
