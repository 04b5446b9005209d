-- What a statement may cost at a source, as its planner estimates before it runs.

-- null for no limit
alter table data_source add column max_cost bigint;
alter table data_source add constraint data_source_max_cost_check check (max_cost >= 1);
