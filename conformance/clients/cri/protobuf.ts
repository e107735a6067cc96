/**
 * Protocol buffers by table: enough of the wire format for the messages of messages.ts, so that no package is needed.
 */

type ScalarType = 'string' | 'bool' | 'int32'
/** A field's type: a scalar, an enumeration (its names in order from 0), a map of strings, or another message. */
type FieldType = ScalarType | 'map' | readonly string[] | Message
type Field = { number: number; type: FieldType; repeated?: true }

/** A message: field names to their number and type. */
export type Message = { [field: string]: Field }
/** A message's value, in JSON's terms. */
export type MessageValue = { [field: string]: unknown }

const wireType = { varint: 0, fixed64: 1, lengthDelimited: 2, fixed32: 5 } as const
const mapEntry: Message = { key: { number: 1, type: 'string' }, value: { number: 2, type: 'string' } }

const isEnumeration = (type: FieldType): type is readonly string[] => Array.isArray(type)
const isMessage = (type: FieldType): type is Message => typeof type === 'object' && !Array.isArray(type)

function encodeVarint(value: bigint): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Buffer.from(bytes)
}

function encodeNumber(field: Field, value: bigint): Buffer {
  return Buffer.concat([encodeVarint(BigInt((field.number << 3) | wireType.varint)), encodeVarint(value)])
}

function encodeBytes(field: Field, bytes: Buffer): Buffer {
  const tag = encodeVarint(BigInt((field.number << 3) | wireType.lengthDelimited))
  return Buffer.concat([tag, encodeVarint(BigInt(bytes.length)), bytes])
}

function encodeOne(field: Field, value: unknown): Buffer {
  const { type } = field
  if (isEnumeration(type)) {
    const position = type.indexOf(String(value))
    if (position < 0) throw new Error(`${String(value)} is none of ${type.join(', ')}`)
    return encodeNumber(field, BigInt(position))
  }
  if (isMessage(type)) return encodeBytes(field, encodeMessage(type, value as MessageValue))
  if (type === 'string') return encodeBytes(field, Buffer.from(String(value)))
  if (type === 'map') {
    const entries = Object.entries(value as Record<string, string>)
    return Buffer.concat(
      entries.map(([key, item]) => encodeBytes(field, encodeMessage(mapEntry, { key, value: item }))),
    )
  }
  return encodeNumber(field, BigInt(Number(value)))
}

/** Encodes a value as a message; a field the table does not have is an error. */
export function encodeMessage(message: Message, value: MessageValue): Buffer {
  const parts = Object.entries(value).flatMap(([name, item]) => {
    const field = message[name]
    if (!field) throw new Error(`no field ${name} among ${Object.keys(message).join(', ')}`)
    return field.repeated ? (item as unknown[]).map((one) => encodeOne(field, one)) : [encodeOne(field, item)]
  })
  return Buffer.concat(parts)
}

type Position = { bytes: Buffer; offset: number }

function readVarint(position: Position): bigint {
  let value = 0n
  for (let shift = 0n; ; shift += 7n) {
    const byte = position.bytes[position.offset++]
    if (byte === undefined) throw new Error('message ends within a number')
    value |= BigInt(byte & 127) << shift
    if (byte < 128) return value
  }
}

function readPayload(position: Position, wire: number): bigint | Buffer {
  if (wire === wireType.varint) return readVarint(position)
  if (wire !== wireType.lengthDelimited && wire !== wireType.fixed64 && wire !== wireType.fixed32) {
    throw new Error(`unknown wire type ${wire}`)
  }
  const length = wire === wireType.lengthDelimited ? Number(readVarint(position)) : wire === wireType.fixed64 ? 8 : 4
  position.offset += length
  return position.bytes.subarray(position.offset - length, position.offset)
}

function decodeOne(type: FieldType, payload: bigint | Buffer): unknown {
  if (isMessage(type)) return decodeMessage(type, payload as Buffer)
  if (isEnumeration(type)) return type[Number(payload)] ?? Number(payload)
  if (type === 'string') return payload.toString()
  return type === 'bool' ? payload !== 0n : Number(BigInt.asIntN(32, payload as bigint))
}

/** What a field reads as when the sender left it out, as protobuf has it for zero, false and the first name. */
function absentValue(field: Field): unknown {
  if (field.repeated) return []
  if (isEnumeration(field.type)) return field.type[0]
  const values: Partial<Record<string, unknown>> = { string: '', bool: false, int32: 0, map: {} }
  return typeof field.type === 'string' ? values[field.type] : undefined
}

/** Decodes a message; unknown fields are skipped. */
export function decodeMessage(message: Message, bytes: Buffer): MessageValue {
  const value: MessageValue = {}
  const names = new Map(Object.entries(message).map(([name, field]) => [field.number, { name, field }]))
  for (const { name, field } of names.values()) {
    const absent = absentValue(field)
    if (absent !== undefined) value[name] = absent
  }
  const position = { bytes, offset: 0 }
  while (position.offset < bytes.length) {
    const tag = Number(readVarint(position))
    const payload = readPayload(position, tag & 7)
    const known = names.get(tag >> 3)
    if (known) store(value, known.name, known.field, payload)
  }
  return value
}

function store(value: MessageValue, name: string, field: Field, payload: bigint | Buffer): void {
  if (field.type === 'map') {
    const entry = decodeMessage(mapEntry, payload as Buffer)
    value[name] = { ...(value[name] as object), [String(entry['key'])]: entry['value'] }
    return
  }
  const decoded = decodeOne(field.type, payload)
  value[name] = field.repeated ? [...(value[name] as unknown[]), decoded] : decoded
}
