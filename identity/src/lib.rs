//! The identity room: Keystone v3, its data as objects in the store.
