-- A small shop. Runs in the database `shop` as its owner; safe to run again.
create table if not exists product (
    id integer primary key,
    name text not null,
    price numeric(10, 2) not null,
    stock integer not null,
    reorder_at integer not null
);

create table if not exists customer (
    id bigint generated always as identity primary key,
    email text not null,
    country text not null
);

create table if not exists shop_order (
    id bigint generated always as identity primary key,
    customer_id bigint not null references customer (id),
    ordered_at timestamptz not null default clock_timestamp()
);

create table if not exists order_line (
    order_id bigint not null references shop_order (id),
    product_id integer not null references product (id),
    quantity integer not null,
    price numeric(10, 2) not null,
    primary key (order_id, product_id)
);

create index if not exists shop_order_ordered_at_idx on shop_order (ordered_at);

insert into product (id, name, price, stock, reorder_at) values
    (1, 'Espresso beans 1 kg', 18.90, 140, 40), (2, 'Filter papers', 3.20, 500, 120),
    (3, 'Hand grinder', 64.00, 35, 10), (4, 'Gooseneck kettle', 79.50, 22, 8),
    (5, 'Porcelain dripper', 21.00, 60, 20), (6, 'Milk jug', 14.75, 80, 25),
    (7, 'Scale with timer', 39.90, 45, 15), (8, 'Decaf beans 1 kg', 19.40, 90, 30),
    (9, 'Travel mug', 26.30, 110, 30), (10, 'Cleaning tablets', 9.80, 210, 60)
on conflict do nothing;

insert into customer (email, country)
select format('customer%s@example.com', n), (array['DE', 'FR', 'IT', 'NL', 'PL', 'US'])[1 + n % 6]
from generate_series(1, 200) n
where not exists (select from customer);

-- a day of history, more by day than by night
with hours as (
    select h, 2 + (6 * (1 + sin((extract(hour from h) - 8) * pi() / 12)))::int as orders
    from generate_series(date_trunc('hour', clock_timestamp()) - interval '23 hours',
                         date_trunc('hour', clock_timestamp()) - interval '1 hour', interval '1 hour') h
    where not exists (select from shop_order)),
placed as (
    insert into shop_order (customer_id, ordered_at)
    select 1 + (random() * 199)::int, h + random() * interval '1 hour'
    from hours, generate_series(1, hours.orders)
    returning id)
insert into order_line (order_id, product_id, quantity, price)
select placed.id, product.id, 1 + (random() * 2)::int, product.price
from placed cross join lateral (
    select id, price from product where placed.id is not null order by random() limit 1 + (random() * 2)::int) product;

grant usage on schema public to shop_reader;
grant select on all tables in schema public to shop_reader;
alter default privileges in schema public grant select on tables to shop_reader;
