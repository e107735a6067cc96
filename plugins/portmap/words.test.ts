import { describe, expect, test } from 'vitest'
import { isToken } from '../../shared/values/token.js'
import { nftWords } from './words.js'

describe('what nft is given', () => {
  const rows: [given: string | string[], words: string][] = [
    [['ip', 'saddr', '10.0.0.0/8'], 'ip saddr 10.0.0.0/8'],
    [['ip saddr', '10.0.0.0/8'], 'ip saddr 10.0.0.0/8'],
    ['ip saddr {127.0.0.0/8,10.0.0.0/8}', 'ip saddr { 127.0.0.0/8 , 10.0.0.0/8 }'],
    [['ip', 'saddr', '!=', '{127.0.0.0/8,10.0.0.0/8}'], 'ip saddr != { 127.0.0.0/8 , 10.0.0.0/8 }'],
    ['ip saddr { 10.0.0.1-10.0.0.9, 192.0.2.1 }', 'ip saddr { 10.0.0.1-10.0.0.9 , 192.0.2.1 }'],
    ['ip6 daddr != fd00::/8', 'ip6 daddr != fd00::/8'],
    ['ip saddr!=10.0.0.1', 'ip saddr != 10.0.0.1'],
    ['tcp dport {80,443}', 'tcp dport { 80 , 443 }'],
    ['tcp dport { http, 8000-8080 }', 'tcp dport { http , 8000-8080 }'],
    ['udp sport >= 1024', 'udp sport >= 1024'],
    ['ct state {new,established}', 'ct state { new , established }'],
    ['ct state new,established', 'ct state new , established'],
    ['ct original ip saddr 10.0.0.1', 'ct original ip saddr 10.0.0.1'],
    ['ct mark & 0xff == 0x1', 'ct mark & 0xff == 0x1'],
    ['iifname "eth0"', 'iifname "eth0"'],
    ['ip saddr "10.0.0.1"', 'ip saddr "10.0.0.1"'],
    ['ip saddr 10.0.0.1 - 10.0.0.9', 'ip saddr 10.0.0.1 - 10.0.0.9'],
    ['ip saddr {"10.0.0.1"-"10.0.0.9"}', 'ip saddr { "10.0.0.1" - "10.0.0.9" }'],
    ['tcp dport "80"', 'tcp dport "80"'],
    ['ct state {"new","established"}', 'ct state { "new" , "established" }'],
    [['meta', 'hour', '"09:00"-"17:00"'], 'meta hour "09:00" - "17:00"'],
    ['iifname != {"eth0","br-*"}', 'iifname != { "eth0" , "br-*" }'],
    ['oif lo', 'oif lo'],
    ['meta l4proto { tcp, udp } meta mark 0x10', 'meta l4proto { tcp , udp } meta mark 0x10'],
    ['fib saddr . iif oif eth0', 'fib saddr . iif oif eth0'],
    ['fib daddr type local', 'fib daddr type local'],
    ['ip saddr . tcp dport { 10.0.0.1 . 80, 10.0.0.2 . 81 }', 'ip saddr . tcp dport { 10.0.0.1 . 80 , 10.0.0.2 . 81 }'],
    ['tcp flags & (syn | ack) == syn', 'tcp flags & ( syn | ack ) == syn'],
    ['meta mark 70000', 'meta mark 70000'],
    ['iifname "a@b"', 'iifname "a@b"'],
    ['ip saddr 10.0.0.0/8 tcp dport != 22', 'ip saddr 10.0.0.0/8 tcp dport != 22'],
    ['', ''],
  ]
  test.each(rows)('%j', (given, words) => {
    const read = nftWords([given].flat())
    expect(read).toEqual({ words: words.split(' ').filter((word) => word !== '') })
    if ('words' in read) for (const word of read.words) expect(isToken(word), word).toBe(true)
  })
})

describe('what is refused, with its place', () => {
  const rows: [given: string, fault: string][] = [
    ['ip saddr 1.2.3.4 ; flush ruleset', '";", behind "ip saddr 1.2.3.4": expected a match'],
    ['ip saddr 1.2.3.4 accept', '"accept", behind "ip saddr 1.2.3.4": expected a match'],
    ['jump evil', '"jump": expected a match'],
    ['ip nonsense 1', '"nonsense", behind "ip": expected one of saddr, daddr'],
    ['ip saddr', 'the end, behind "ip saddr": expected a value'],
    ['ip saddr banana', '"banana", behind "ip saddr": expected an IPv4 address'],
    ['ip saddr fd00::1', '"fd00::1", behind "ip saddr": expected an IPv4 address'],
    ['ip6 saddr 10.0.0.1', '"10.0.0.1", behind "ip6 saddr": expected an IPv6 address'],
    ['ip saddr { 10.0.0.1', 'the end, behind "ip saddr { 10.0.0.1": expected "," or "}"'],
    ['ip saddr "10.0.0.0/8"', '""10.0.0.0/8"", behind "ip saddr": expected an IPv4 address'],
    ['ip saddr "evil.example"', '""evil.example"", behind "ip saddr": expected an IPv4 address'],
    ['ip saddr 10.0.0.1 - drop', '"drop", behind "ip saddr 10.0.0.1 -": expected a value'],
    ['ip saddr - 10.0.0.1', '"-", behind "ip saddr": expected an IPv4 address'],
    ['ip saddr {}', '"}", behind "ip saddr {": expected a value'],
    ['ip saddr @elsewhere', '"@elsewhere", behind "ip saddr": expected a value'],
    ['ip saddr $variable', '"$variable", behind "ip saddr": expected a value'],
    ['tcp dport 80000', '"80000", behind "tcp dport": expected a port'],
    ['udp sport 80000', '"80000", behind "udp sport": expected a port'],
    ['udp sport 80-80000', '"80-80000", behind "udp sport": expected a port'],
    ['ip saddr 10.0.0.1-fd00::1', '"10.0.0.1-fd00::1", behind "ip saddr": expected an IPv4 address'],
    ['ip saddr fd00::1-10.0.0.9', '"fd00::1-10.0.0.9", behind "ip saddr": expected an IPv4 address'],
    ['ip saddr 10.0.0.1-10.0.0.2-10.0.0.3', '"10.0.0.1-10.0.0.2-10.0.0.3", behind "ip saddr": expected an IPv4'],
    ['tcp flags & (syn | ack == syn', '"==", behind "tcp flags & ( syn | ack": expected ")"'],
    ['tcp dport vmap { 80 : drop }', '"vmap", behind "tcp dport": expected a value'],
    ['ct state nonsense', '"nonsense", behind "ct state": expected one of new'],
    ['iifname "eth0', '""eth0", behind "iifname": expected a value'],
    ['iifname "a;b"', 'behind "iifname": expected a value'],
    ["iifname 'eth0'", 'behind "iifname": expected a value'],
    ['limit rate 1/second', '"limit": expected a match'],
    ['ip saddr . tcp dport { 10.0.0.1 }', '"}", behind "ip saddr . tcp dport { 10.0.0.1": expected "."'],
    ['constructor name 1', '"constructor": expected a match'],
    ['# comment', '"#": expected a match'],
  ]
  test.each(rows)('%j', (given, fault) => {
    expect(nftWords([given])).toEqual({ fault: expect.stringContaining(fault) })
  })
})
