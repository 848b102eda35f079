// Loads an exported version folder the way TF Serving does and prints what it answers.
//
//   export_loader FOLDER serving_default PIXELS_FILE BATCH HEIGHT WIDTH CHANNELS
//   export_loader FOLDER serving_bytes IMAGE_FILE...
//   export_loader FOLDER --serve
//
// PIXELS_FILE holds the batch's uint8 pixels and nothing else. One line an image: class_id label scores.
//
// With --serve it answers requests of standard input on standard output, several at a time, until the input ends.
// Numbers are little-endian; TEXT is its length, uint32, and its bytes; TENSOR is the TEXT of a TensorProto:
//
//   request  uint64 number, TEXT signature, uint32 count, count times: TEXT name, TENSOR
//   answer   uint64 number, uint32 code of absl::Status; of 0: uint32 count, as above; of others: TEXT message

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/threadpool.h"

namespace {

void Check(const absl::Status& status) {
  if (!status.ok()) {
    std::cerr << status.ToString() << "\n";
    std::exit(1);
  }
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Check(absl::NotFoundError(path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

tensorflow::Tensor Pixels(char** arguments) {
  tensorflow::TensorShape shape;
  for (int i = 1; i < 5; ++i) shape.AddDim(std::atoll(arguments[i]));
  tensorflow::Tensor images(tensorflow::DT_UINT8, shape);
  const std::string bytes = Contents(arguments[0]);
  if (bytes.size() != images.TotalBytes()) Check(absl::InvalidArgumentError("wrong file size"));
  std::memcpy(images.data(), bytes.data(), bytes.size());
  return images;
}

tensorflow::Tensor Files(int count, char** paths) {
  tensorflow::Tensor files(tensorflow::DT_STRING, tensorflow::TensorShape({count}));
  for (int i = 0; i < count; ++i) files.flat<tensorflow::tstring>()(i) = Contents(paths[i]);
  return files;
}

constexpr int kThreads = 8;

template <typename Number>
bool Read(Number& number) {
  return static_cast<bool>(std::cin.read(reinterpret_cast<char*>(&number), sizeof(number)));
}

std::string ReadText() {
  uint32_t size = 0;
  Read(size);
  std::string text(size, '\0');
  std::cin.read(text.data(), size);
  return text;
}

template <typename Number>
void Append(std::string& to, Number number) {
  to.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void AppendText(std::string& to, const std::string& text) {
  Append(to, static_cast<uint32_t>(text.size()));
  to += text;
}

// As TF Serving does it: inputs and outputs by the names that the signature has for them.
absl::Status Answer(const tensorflow::SavedModelBundleLite& model, const std::string& name,
                    const std::map<std::string, std::string>& inputs, std::string& answer) {
  const auto found = model.GetSignatures().find(name);
  if (found == model.GetSignatures().end()) {
    return absl::InvalidArgumentError("no signature " + name);
  }
  const tensorflow::SignatureDef& signature = found->second;
  if (inputs.size() != signature.inputs().size()) {
    return absl::InvalidArgumentError("another number of inputs than the signature has");
  }
  std::vector<std::pair<std::string, tensorflow::Tensor>> fed;
  for (const auto& [input, bytes] : inputs) {
    tensorflow::TensorProto proto;
    tensorflow::Tensor tensor;
    if (signature.inputs().count(input) == 0) {
      return absl::InvalidArgumentError("no input " + input);
    }
    if (!proto.ParseFromString(bytes) || !tensor.FromProto(proto)) {
      return absl::InvalidArgumentError("no tensor for " + input);
    }
    fed.emplace_back(signature.inputs().at(input).name(), tensor);
  }
  std::vector<std::string> names, fetched;
  for (const auto& [output, info] : signature.outputs()) {
    names.push_back(output);
    fetched.push_back(info.name());
  }
  std::vector<tensorflow::Tensor> outputs;
  const absl::Status status = model.GetSession()->Run(fed, fetched, {}, &outputs);
  if (!status.ok()) return status;
  Append(answer, static_cast<uint32_t>(outputs.size()));
  for (size_t i = 0; i < outputs.size(); ++i) {
    tensorflow::TensorProto proto;
    outputs[i].AsProtoField(&proto);
    AppendText(answer, names[i]);
    AppendText(answer, proto.SerializeAsString());
  }
  return absl::OkStatus();
}

void Serve(const tensorflow::SavedModelBundleLite& model) {
  std::mutex writing;
  tensorflow::thread::ThreadPool threads(tensorflow::Env::Default(), "serve", kThreads);
  for (uint64_t number; Read(number);) {
    const std::string name = ReadText();
    uint32_t count = 0;
    Read(count);
    std::map<std::string, std::string> inputs;
    for (uint32_t i = 0; i < count; ++i) {
      std::string input = ReadText();
      inputs[input] = ReadText();
    }
    threads.Schedule([&model, &writing, number, name, inputs] {
      std::string content, answer;
      const absl::Status status = Answer(model, name, inputs, content);
      Append(answer, number);
      Append(answer, static_cast<uint32_t>(status.raw_code()));
      if (status.ok()) {
        answer += content;
      } else {
        AppendText(answer, std::string(status.message()));
      }
      const std::lock_guard<std::mutex> lock(writing);
      std::cout.write(answer.data(), answer.size());
      std::cout.flush();
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc < 3 ? "" : argv[2];
  const bool serves = name == "--serve";
  if (argc < 4 && !serves) Check(absl::InvalidArgumentError("expected FOLDER SIGNATURE FILE..."));
  const bool from_pixels = name == "serving_default";
  if (from_pixels && argc != 8) Check(absl::InvalidArgumentError("expected four sizes"));

  tensorflow::SavedModelBundleLite model;
  Check(tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &model));
  if (serves) {
    Serve(model);
    return 0;
  }
  const tensorflow::SignatureDef& signature = model.GetSignatures().at(name);
  std::vector<tensorflow::Tensor> outputs;
  Check(model.GetSession()->Run(
      {{signature.inputs().at(from_pixels ? "images" : "image_bytes").name(),
        from_pixels ? Pixels(argv + 3) : Files(argc - 3, argv + 3)}},
      {signature.outputs().at("class_id").name(), signature.outputs().at("label").name(),
       signature.outputs().at("scores").name()},
      {}, &outputs));

  std::cout.precision(std::numeric_limits<float>::max_digits10);
  const auto scores = outputs[2].matrix<float>();
  for (int64_t row = 0; row < scores.dimension(0); ++row) {
    std::cout << outputs[0].flat<int64_t>()(row) << " "
              << outputs[1].flat<tensorflow::tstring>()(row).c_str();
    for (int64_t k = 0; k < scores.dimension(1); ++k) std::cout << " " << scores(row, k);
    std::cout << "\n";
  }
}
