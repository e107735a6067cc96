import { expect, test } from 'vitest'
import { parseResolvConf } from './resolv.js'

test.each([
  ['', {}],
  ['nameserver 192.0.2.1 192.0.2.9\n\tnameserver\t192.0.2.2  \r\n', { nameservers: ['192.0.2.1', '192.0.2.2'] }],
  ['domain a.example\ndomain b.example ignored\n', { domain: 'b.example' }],
  ['search a.b c.d\nsearch e.f\n', { search: ['a.b', 'c.d', 'e.f'] }],
  ['options ndots:5 # x\noptions rotate', { options: ['ndots:5', '#', 'x', 'rotate'] }],
  ['# nameserver 1.2.3.4\n;nameserver 1.2.3.4\n  #domain x\n', {}],
  ['nameserver\nsearch\nsortlist 130.155.0.0\nNameserver 1.2.3.4\n', {}],
])('%j', (text, dns) => expect(parseResolvConf(text)).toEqual(dns))
