"""What the fault suite is made of: real processes, exact points at which they die, and the audit afterwards."""
