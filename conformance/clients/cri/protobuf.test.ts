import { expect, test } from 'vitest'
import { methods } from './messages.js'
import { decodeMessage, encodeMessage } from './protobuf.js'

const { request } = methods.RunPodSandbox

test('a message is encoded as protoc does', () => {
  const value = {
    config: { metadata: { name: 'ab', attempt: 300 }, port_mappings: [{ protocol: 'UDP', host_port: 80 }] },
  }
  expect(encodeMessage(request, value).toString('hex')).toBe('0a0f0a070a02616220ac022a0408011850')
})

test('a message is read back with what was absent as zero', () => {
  const value = { config: { labels: { app: 'web', tier: '1' }, dns_config: { servers: ['10.0.0.1', '10.0.0.2'] } } }
  expect(decodeMessage(request, encodeMessage(request, value))).toMatchObject({
    config: { ...value.config, hostname: '', port_mappings: [] },
    runtime_handler: '',
  })
})

test('unknown fields are skipped and truncated messages refused', () => {
  expect(
    decodeMessage(
      { name: { number: 1, type: 'string' } },
      Buffer.from('1005190000000000000000150000000022017a0a0161', 'hex'),
    ),
  ).toEqual({ name: 'a' })
  expect(() => decodeMessage({ name: { number: 1, type: 'int32' } }, Buffer.from('0880', 'hex'))).toThrow('ends within')
})

test('what the table does not have is an error', () => {
  expect(() => encodeMessage(request, { configuration: {} })).toThrow('no field configuration')
  expect(() => encodeMessage(request, { config: { port_mappings: [{ protocol: 'ICMP' }] } })).toThrow(
    'ICMP is none of TCP',
  )
})
