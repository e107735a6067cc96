import { describe } from 'vitest'
import { test } from '../harness/fixture.js'
import { neighbour } from './network.js'
import { talkAcrossNodes } from './nodes.js'
import { onlyTheAskedListen } from './routers.js'

// The other kinds of links: children.vm.test.ts.
const plugin = { type: 'macvlan' }

describe('macvlan', () => {
  test.for(['bridge', 'private', 'vepa', 'passthru'])('%s: containers of two nodes talk', async (mode) => {
    await talkAcrossNodes({ ...plugin, mode }, 'switched')
  })

  test('a router is only listened to where asked for', async ({ host }) => {
    await onlyTheAskedListen(host, { plugins: [plugin, plugin], router: await neighbour(host) })
  })
})
