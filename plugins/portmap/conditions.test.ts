import { describe, expect, test } from 'vitest'
import { excludes } from './conditions.js'

const agent = '169.254.170.23'

describe('conditions that exclude an address', () => {
  const rows: [string, string][] = [
    ['! -d 169.254.170.23', agent],
    ['! -d 169.254.170.23/32', agent],
    ['! --dst 169.254.0.0/16', agent],
    ['! --destination 169.254.0.0/255.255.0.0', agent],
    ['-m comment --comment x ! -d 169.254.170.23', agent],
    ['-d 192.0.2.1', agent],
    ['-d 192.0.2.1,192.0.2.2', agent],
    ['-m iprange --dst-range 10.0.0.1-10.0.0.9', agent],
    ['-m iprange ! --dst-range 169.254.170.20-169.254.170.30', agent],
    ['! -d fd00:ec2::23', 'fd00:ec2::23'],
    ['! -d fd00:ec2:0::/64', 'fd00:ec2::23'],
    ['ip daddr != 169.254.170.23', agent],
    ['ip daddr ne 169.254.0.0/16', agent],
    ['ip daddr != 169.254.170.20-169.254.170.30', agent],
    ['ip daddr != 169.254.170.20 - 169.254.170.30', agent],
    ['ip daddr != "169.254.170.23"', agent],
    ['ip daddr != { "169.254.170.20" - "169.254.170.30" , 127.0.0.53 }', agent],
    ['ip daddr 192.0.2.1 - 192.0.2.9', agent],
    ['ip daddr != {169.254.170.23,127.0.0.53}', agent],
    ['ip daddr != { 127.0.0.53, 169.254.170.0/24 }', agent],
    ['ip saddr 10.0.0.0/8 ip daddr != 169.254.170.23 tcp dport != 1', agent],
    ['ip daddr 192.0.2.1', agent],
    ['ip daddr == { 192.0.2.1, 192.0.2.2 }', agent],
    ['ip daddr != { @somewhere, 169.254.170.23 }', agent],
    ['ip6 daddr != fd00:ec2::23', 'fd00:ec2::23'],
  ]
  test.each(rows)('%s', (words, address) => expect(excludes(words.split(' '), address)).toBe(true))
})

describe('conditions that do not', () => {
  const rows: [string, string][] = [
    ['', agent],
    ['! -d 169.254.170.23', '169.254.170.24'],
    ['! -d 169.254.170.23', '::1'],
    ['-d 169.254.170.23', agent],
    ['-d 192.0.2.1,169.254.0.0/16', agent],
    ['! -s 169.254.170.23', agent],
    ['! -d localhost', '127.0.0.1'],
    ['-d localhost', '127.0.0.1'],
    ['! -d 255.0.255.0/255.0.255.0', agent],
    ['! -d', agent],
    ['ip saddr != 169.254.170.23', agent],
    ['ip daddr != 169.254.170.24', agent],
    ['ip daddr 169.254.170.23', agent],
    ['ip daddr "169.254.170.23"', agent],
    ['ip daddr 169.254.170.20 - 169.254.170.30', agent],
    ['ip daddr != @somewhere', agent],
    ['ip daddr @somewhere', agent],
    ['ip daddr { 192.0.2.1, $other }', agent],
    ['ip daddr . tcp dport != { 169.254.170.23 . 80 }', agent],
    ['ip daddr & 255.0.0.0 != 169.0.0.0', agent],
    ['ip daddr != { 169.254.170.23', agent],
    ['ether daddr != 169.254.170.23', agent],
    ['ip daddr', agent],
  ]
  test.each(rows)('%s', (words, address) => expect(excludes(words.split(' '), address)).toBe(false))
})
