"""How far the system goes: a table of jobs that grows, a fleet that sleeps, a crowd of workers without torch."""
