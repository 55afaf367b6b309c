//! Who may do what: owners, groups, other users, setuid. On a real mount.
