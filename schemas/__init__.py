"""The models of what crosses a process: the wishes of jobs, the payloads of tasks, the reports that come back."""
