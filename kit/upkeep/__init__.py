"""The state of a workspace and of the machine: what is there, what is stale, what is damaged, what to do next.

    status.py    what exists, what has changed since, what runs now, and the next command
    verify.py    every file read whole and compared with its digest
    remove.py    a source, training, study, blend or submission deleted, with all that belongs to it
    doctor.py    Python, packages, device, disk, credentials, caches, file system

Makes nothing of its own, and trains nothing.
"""
