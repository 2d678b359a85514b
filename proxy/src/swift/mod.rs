//! The Swift door.
